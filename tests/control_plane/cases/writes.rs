//! The content of csr-warden's writes to a request.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::{BINARY, Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::decision_log;
use control_plane::install::Installation;
use control_plane::node_user::{
    NewRequest, NodeUser, condition, has_no_conditions, issued, settled,
};
use testkit::forge::Recipe;

const SOON: Duration = Duration::from_secs(60);
const SERVICE: &str = "10.96.0.1";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("enforcement", Needs::Nothing, enforcement),
        Case::new("metadata_is_kept", Needs::Nothing, metadata_is_kept),
        Case::new(
            "a_key_is_approved_for_one_node_only",
            Needs::Nothing,
            a_key_is_approved_for_one_node_only,
        ),
    ]
}

async fn node(cluster: &Cluster, name: &str, ip: &str) -> Result<NodeUser> {
    let user = NodeUser::new(cluster, name).await?;
    user.register().await?;
    let addresses = [format!("Hostname {name}"), format!("InternalIP {ip}")];
    user.report(&addresses).await?;
    Ok(user)
}

fn pem(node: &str, ips: &[&str]) -> Result<String> {
    let ips = ips
        .iter()
        .map(|ip| ip.parse())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Recipe::genuine(node, &[node], &ips).pem())
}

async fn enforcement(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let admin = cluster.admin();
    let requests: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let user = node(&cluster, "node-1", "10.0.0.1").await?;

    for (mode, approves) in [("ApproveOnly", true), ("DryRun", false)] {
        let mut daemon = installation.start(mode, &["--enforcement", mode])?;
        daemon.wait_ready(SOON).await?;
        let (good, bad) = (
            format!("good-{}", mode.to_lowercase()),
            format!("bad-{}", mode.to_lowercase()),
        );
        let mut posted = Vec::new();
        for (name, ips) in [(&good, &["10.0.0.1"][..]), (&bad, &["10.0.0.1", SERVICE])] {
            posted.push(
                user.post(&NewRequest::new(name, pem("node-1", ips)?))
                    .await?,
            );
        }
        let output = daemon.stdout();
        decision_log::expect(output, &good, "Approve", &[""; 0]).await?;
        let codes = ["SanServiceAddress", "SanNotOfNode"];
        decision_log::expect(output, &bad, "Deny", &codes).await?;
        if approves {
            issued(&admin, &good).await?;
        }
        // The daemon has made its last write when it exits.
        daemon.sigterm(Duration::from_secs(5)).await?;
        for before in posted.iter().skip(usize::from(approves)) {
            let name = before.metadata.name.as_deref().context("name")?;
            let after = requests.get(name).await?;
            ensure!(
                has_no_conditions(&after),
                "{mode}: {name}: {:?}",
                after.status
            );
            let version =
                |request: &CertificateSigningRequest| request.metadata.resource_version.clone();
            ensure!(
                version(before) == version(&after),
                "{mode}: {name} was written to"
            );
        }
    }
    ensure!(
        events(&admin).await?.is_empty(),
        "Events of what was not denied"
    );
    Ok(())
}

async fn events(admin: &Client) -> Result<Vec<Event>> {
    let events: Api<Event> = Api::default_namespaced(admin.clone());
    let mut events = events.list(&ListParams::default()).await?.items;
    events.retain(|event| event.reporting_controller.as_deref() == Some("csr-warden"));
    Ok(events)
}

async fn metadata_is_kept(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let admin = cluster.admin();
    let user = node(&cluster, "node-1", "10.0.0.1").await?;

    let plain = json!({"generateName": "csr-"});
    let full = json!({
        "generateName": "csr-",
        "labels": {"example.com/a": "b", "c": ""},
        "annotations": {"example.com/note": "{\"k\": \"ü\"}"},
        "finalizers": ["example.com/held"],
    });
    for metadata in [plain, full] {
        for (ips, verdict, reason) in [
            (&["10.0.0.1"][..], "Approved", "SansProven"),
            (&["10.0.0.1", SERVICE], "Denied", "SanServiceAddress"),
        ] {
            let mut ask = NewRequest::new("", pem("node-1", ips)?);
            ask.metadata.clone_from(&metadata);
            let before = user.post(&ask).await?;
            let name = before.metadata.name.clone().context("name")?;
            let after = settled(&admin, &name, verdict).await?;
            ensure!(
                kept(&before)? == kept(&after)?,
                "{before:?}, then {after:?}"
            );
            let found = condition(&after, verdict).context("condition")?;
            let message = found.message.as_deref().unwrap_or_default();
            ensure!(found.reason.as_deref() == Some(reason), "{found:?}");
            ensure!(
                message.starts_with("csr-warden, policy default ("),
                "{found:?}"
            );
            ensure!(found.status == "True", "{found:?}");
            if verdict == "Denied" {
                is_told(&admin, &after, reason, message).await?;
            } else {
                ensure!(
                    message.contains("IP:10.0.0.1 (InternalIP of Node node-1)"),
                    "{message}"
                );
                issued(&admin, &name).await?;
            }
        }
    }
    changed_while_judged(&admin, &user).await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// Returns the fields that only the owner may change.
fn kept(request: &CertificateSigningRequest) -> Result<Value> {
    let meta = &request.metadata;
    Ok(json!({
        "name": meta.name,
        "uid": meta.uid,
        "generateName": meta.generate_name,
        "labels": meta.labels,
        "annotations": meta.annotations,
        "finalizers": meta.finalizers,
        "spec": serde_json::to_value(&request.spec)?,
    }))
}

/// Checks for an Event with the reason and the message of the condition.
async fn is_told(
    admin: &Client,
    request: &CertificateSigningRequest,
    reason: &str,
    message: &str,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let told = events(admin).await?.into_iter().find(|event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            regarding.uid == request.metadata.uid && regarding.name == request.metadata.name
        });
        if let Some(event) = told {
            ensure!(event.reason.as_deref() == Some(reason), "{event:?}");
            ensure!(event.note.as_deref() == Some(message), "{event:?}");
            ensure!(event.type_.as_deref() == Some("Warning"), "{event:?}");
            return Ok(());
        }
        if begun.elapsed() > SOON {
            bail!("no Event for {:?}", request.metadata.name);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A client labels requests while they are judged. Every label survives, and the decisions are the
/// same.
async fn changed_while_judged(admin: &Client, user: &NodeUser) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    for index in 0..20 {
        let forged = index % 2 == 1;
        let ips: &[&str] = if forged {
            &["10.0.0.1", SERVICE]
        } else {
            &["10.0.0.1"]
        };
        let name = format!("labeled-{index}");
        user.post(&NewRequest::new(&name, pem("node-1", ips)?))
            .await?;
        for round in 0..8 {
            let label = json!({"metadata": {"labels": {format!("round-{round}"): "1"}}});
            let params = PatchParams::default();
            api.patch(&name, &params, &Patch::Merge(label)).await?;
        }
        let verdict = if forged { "Denied" } else { "Approved" };
        let after = settled(admin, &name, verdict).await?;
        let labels = after.metadata.labels.unwrap_or_default();
        ensure!(labels.len() == 8, "{name} has lost labels: {labels:?}");
    }
    Ok(())
}

/// Row 24, also for two concurrent requests.
async fn a_key_is_approved_for_one_node_only(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let admin = cluster.admin();
    let one = node(&cluster, "one", "10.3.0.1").await?;
    let two = node(&cluster, "two", "10.3.0.2").await?;
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    for round in 0..20 {
        let ask = |user: &NodeUser, ip: &str| {
            let mut recipe = Recipe::genuine(&user.name, &[&user.name], &[ip.parse()?]);
            recipe.key_seed = Some(format!("shared-{round}"));
            anyhow::Ok(NewRequest::new(
                &format!("{}-{round}", user.name),
                recipe.pem(),
            ))
        };
        let (ask_one, ask_two) = (ask(&one, "10.3.0.1")?, ask(&two, "10.3.0.2")?);
        // Both exist when the daemon resumes.
        daemon.pause()?;
        tokio::try_join!(one.post(&ask_one), two.post(&ask_two))?;
        daemon.resume()?;
        let mut verdicts = Vec::new();
        for name in [format!("one-{round}"), format!("two-{round}")] {
            let begun = Instant::now();
            let request = loop {
                let request = api.get(&name).await?;
                if !has_no_conditions(&request) {
                    break request;
                }
                ensure!(begun.elapsed() < SOON, "{name} is still pending");
                tokio::time::sleep(POLL_INTERVAL).await;
            };
            let denied = condition(&request, "Denied");
            verdicts.push(denied.and_then(|denied| denied.reason.clone()));
        }
        verdicts.sort();
        ensure!(
            verdicts == [None, Some("KeyOfAnotherNode".to_owned())],
            "round {round}: {verdicts:?}"
        );
    }
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
