//! Stolen kubelet credentials: each attacker is a real node user with a Node of its own, and asks
//! for a certificate that no kubelet should have.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt as _;
use futures::future::ready;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use rcgen::KeyPair;
use tokio::time::{sleep, timeout};

use super::forgery::Forgery;
use super::kubelet;

/// How long a forgery is watched before it counts as left waiting.
const DECISION_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a forgery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttackOutcome {
    /// It has the condition Denied.
    Denied {
        /// The condition's reason.
        code: String,
        /// What the condition's message says was found.
        detail: String,
        /// From asking to the condition.
        after: Duration,
    },
    /// It has the condition Approved, or a certificate: this must not be.
    Approved,
    /// Nobody said anything; without an approval there is no certificate.
    Pending,
    /// The API server did not take it.
    Refused(String),
}

/// Waits until the victim is approved: whoever claims its address before keeps both waiting.
pub async fn wait_for_victim_approval(client: &Client, forgery: &Forgery) -> Result<()> {
    if !forgery.kind.has_victim() {
        return Ok(());
    }
    let user = format!("system:node:{}", forgery.victim.0);
    let requests = watcher(kubelet::requests(client), watcher::Config::default());
    let approved = requests
        .applied_objects()
        .default_backoff()
        .try_any(|request| {
            let approved = outcome(&request, Duration::ZERO) == Some(AttackOutcome::Approved);
            ready(approved && request.spec.username.as_ref() == Some(&user))
        });
    let approved = timeout(DECISION_TIMEOUT, approved).await;
    approved.context("the victim is not approved")??;
    Ok(())
}

/// Waits until the victim's Node is there and older than a Node made now would be: creation times
/// are whole seconds.
pub async fn wait_for_victim(client: &Client, forgery: &Forgery) -> Result<()> {
    if !forgery.kind.has_victim() {
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let is_there = |node: Option<&Node>| node.is_some();
    let victim = &forgery.victim.0;
    let there = timeout(DECISION_TIMEOUT, await_condition(nodes, victim, is_there));
    let node = there.await.context("the victim does not come")??;
    let created = node.and_then(|node| node.metadata.creation_timestamp);
    let created = created.context("a Node without creation time")?.0;
    let younger = created + Duration::from_secs(1);
    let left = Duration::try_from(younger.duration_since(Timestamp::now()));
    sleep(left.unwrap_or_default()).await;
    Ok(())
}

/// Makes its Node, posts the request and waits for what comes of it. The client has the credential
/// of the attacker's node.
pub async fn attack(client: &Client, forgery: &Forgery) -> Result<AttackOutcome> {
    kubelet::register(client, &forgery.node, &forgery.claims(), &[]).await?;
    let pem = forgery.template().pem(&KeyPair::generate()?)?;
    let begun = Instant::now();
    let posted = match kubelet::post(client, pem, forgery.usages()).await {
        Ok(posted) => posted,
        Err(kube::Error::Api(status)) => return Ok(AttackOutcome::Refused(status.message.clone())),
        Err(error) => return Err(anyhow::Error::from(error)),
    };
    let name = posted.metadata.name.context("a request without a name")?;
    let decided = await_condition(kubelet::requests(client), &name, |request: Option<&_>| {
        request.is_none_or(|request| outcome(request, Duration::ZERO).is_some())
    });
    match timeout(DECISION_TIMEOUT, decided).await {
        Err(_) => Ok(AttackOutcome::Pending),
        Ok(decided) => {
            let request = decided?;
            let fate = request.and_then(|request| outcome(&request, begun.elapsed()));
            Ok(fate.unwrap_or(AttackOutcome::Pending))
        }
    }
}

/// What a request's conditions say became of it; `None` as long as nobody said anything.
pub fn outcome(request: &CertificateSigningRequest, after: Duration) -> Option<AttackOutcome> {
    let status = request.status.as_ref()?;
    let conditions = || status.conditions.iter().flatten();
    if status.certificate.is_some() || conditions().any(|c| c.type_ == "Approved") {
        return Some(AttackOutcome::Approved);
    }
    let denied = conditions().find(|condition| condition.type_ == "Denied")?;
    let message = denied.message.as_deref().unwrap_or_default();
    // What stands before says only which policy it was.
    let detail = message
        .split_once("): ")
        .map_or(message, |(_, detail)| detail);
    Some(AttackOutcome::Denied {
        code: denied.reason.clone().unwrap_or_default(),
        detail: detail.to_owned(),
        after,
    })
}
