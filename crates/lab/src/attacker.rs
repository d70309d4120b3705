//! Attackers with stolen kubelet credentials. Each one is a node user with a Node of its own, and
//! requests a certificate that no kubelet should have.

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

/// The time to wait for a decision before a forged request counts as pending.
const DECISION_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a forgery that is not denied.
const WAITING_TIMEOUT: Duration = Duration::from_secs(3);

/// The outcome of a forged request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttackOutcome {
    /// The request was denied.
    Denied {
        /// The reason of the condition Denied.
        code: String,
        /// The part of the condition's message after the name of the policy.
        detail: String,
        /// The time from the request to the condition.
        after: Duration,
    },
    /// The request was approved or has a certificate, which must never happen.
    Approved,
    /// No decision was made, so there is no certificate.
    Pending,
    /// The API server rejected the request.
    Refused(String),
}

/// Waits until the victim is approved. An earlier claim of its address would make both wait.
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

/// Waits until the victim's Node is older than a new Node would be. Creation times are whole
/// seconds.
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

/// Creates the attacker's Node, posts the request and waits for its outcome. The client has the
/// credential of the attacker's node.
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
    let limit = if forgery.kind.is_left_waiting() {
        WAITING_TIMEOUT
    } else {
        DECISION_TIMEOUT
    };
    match timeout(limit, decided).await {
        Err(_) => Ok(AttackOutcome::Pending),
        Ok(decided) => {
            let request = decided?;
            let fate = request.and_then(|request| outcome(&request, begun.elapsed()));
            Ok(fate.unwrap_or(AttackOutcome::Pending))
        }
    }
}

/// Returns the outcome by the conditions of a request, `None` before a decision.
pub fn outcome(request: &CertificateSigningRequest, after: Duration) -> Option<AttackOutcome> {
    let status = request.status.as_ref()?;
    let conditions = || status.conditions.iter().flatten();
    if status.certificate.is_some() || conditions().any(|c| c.type_ == "Approved") {
        return Some(AttackOutcome::Approved);
    }
    let denied = conditions().find(|condition| condition.type_ == "Denied")?;
    let message = denied.message.as_deref().unwrap_or_default();
    // The text before names the policy.
    let detail = message
        .split_once("): ")
        .map_or(message, |(_, detail)| detail);
    Some(AttackOutcome::Denied {
        code: denied.reason.clone().unwrap_or_default(),
        detail: detail.to_owned(),
        after,
    })
}
