//! Events for denials and for requests that wait: one for each request, and a counted one for each Node, as shown by
//! `kubectl describe`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::node_user::{NodeUser, wait_until_later_than};

const SERVICE: &str = "10.96.0.77";
const FORGERIES: i32 = 20;
/// The minimum interval between two writes of an Event.
const EACH_SERIES: Duration = Duration::from_secs(10);

/// The limit of reported waits of one node in an hour.
const MOST_WAITS: usize = 6;
/// The deadline for the Event of a wait, which is longer than the grace period of ten seconds.
const WAITS: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "events_report_denials_without_a_flood",
            Needs::Nothing,
            report_denials,
        ),
        Case::new(
            "events_say_why_a_request_waits",
            Needs::Nothing,
            report_waits,
        ),
    ]
}

async fn report_denials(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let mut daemon = test_cluster
        .installation
        .start("csr-warden", &["--denial-interval=0"])?;
    daemon.wait_ready(SOON).await?;
    let thief = test_cluster.node("thief", &["10.0.0.66", SERVICE]).await?;
    let honest = test_cluster.node("honest", &["10.0.0.1"]).await?;
    test_cluster.ask(&honest, "genuine", &["10.0.0.1"]).await?;
    test_cluster.is_approved("genuine").await?;

    let forge = async |number: i32| {
        let name = format!("forged-{number}");
        test_cluster
            .ask(&thief, &name, &["10.0.0.66", SERVICE])
            .await
    };
    let begun = Instant::now();
    forge(1).await?;
    wait(&test_cluster, "Node", |found| found.len() == 1).await?;
    for number in 2..=FORGERIES {
        forge(number).await?;
    }
    let nodes = wait(&test_cluster, "Node", |found| counts(found) == FORGERIES).await?;
    ensure!(nodes.len() == 1, "{nodes:#?}");
    let patched = patches(&test_cluster).await?;
    let most = begun.elapsed().as_secs() / EACH_SERIES.as_secs() + 1;
    ensure!(patched <= most, "{patched} patches, {most} at most");

    let requests = wait(&test_cluster, "CertificateSigningRequest", |found| {
        counts(found) >= FORGERIES
    })
    .await?;
    let mut names: Vec<_> = requests.iter().map(regarding).collect();
    names.sort();
    let mut expected: Vec<_> = (1..=FORGERIES).map(|n| format!("forged-{n}")).collect();
    expected.sort();
    ensure!(names == expected, "{names:?}");

    let line = described(&test_cluster, "node", "thief").await?;
    ensure!(line.contains(&format!("(x{FORGERIES} over ")), "{line}");
    ensure!(line.contains("first in request forged-1: csr-"), "{line}");
    // As docs/runbooks.md searches for them.
    let selector = "--field-selector=involvedObject.kind=Node,source=csr-warden";
    let listed = ["get", "events", "-n", "default", "--no-headers", selector];
    let listed = test_cluster.cluster.kubectl(&listed).await?;
    ensure!(listed.contains(" node/thief "), "{listed}");
    ensure!(listed.lines().count() == 1, "{listed}");
    let line = described(&test_cluster, "csr", "forged-7").await?;
    ensure!(line.contains(SERVICE), "{line}");
    let honest = test_cluster
        .cluster
        .kubectl(&["describe", "node", "honest"]);
    let honest = honest.await?;
    ensure!(!honest.contains("SanServiceAddress"), "{honest}");

    // An expired Event is followed by a new one, whose count starts again.
    let api: Api<Event> = Api::default_namespaced(test_cluster.admin.clone());
    let first = nodes.first().and_then(|event| event.metadata.name.clone());
    let first = first.context("name")?;
    api.delete(&first, &DeleteParams::default()).await?;
    forge(FORGERIES + 1).await?;
    let nodes = wait(&test_cluster, "Node", |found| !found.is_empty()).await?;
    ensure!(counts(&nodes) == 1, "{nodes:#?}");
    let line = described(&test_cluster, "node", "thief").await?;
    ensure!(line.contains("first in request forged-21: csr-"), "{line}");

    daemon.sigterm(Duration::from_secs(5)).await?;
    let failed = daemon.stderr().containing("cannot write an Event");
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

/// `kubectl describe csr` says why a request is pending, and what would change it. A kubelet that gets its
/// certificate within seconds has no Event.
async fn report_waits(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let mut daemon = test_cluster.installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let quick = test_cluster.node("quick", &["10.0.0.1"]).await?;
    test_cluster.ask(&quick, "quick", &["10.0.0.1"]).await?;
    test_cluster.is_approved("quick").await?;

    let late = NodeUser::new(&test_cluster.cluster, "late").await?;
    test_cluster.ask(&late, "pending", &["10.0.0.2"]).await?;
    test_cluster
        .waits(&daemon, "pending", &["NodeMissing"])
        .await?;
    // A flood of the same node leaves the request its Event, and has few of its own.
    for number in 0..20 {
        let name = format!("flood-{number}");
        test_cluster.ask(&late, &name, &["10.0.0.2"]).await?;
    }
    let first = waits(&test_cluster, "csr", "pending", "NodeMissing").await?;
    ensure!(first.contains("Changes when Node late exists."), "{first}");
    ensure!(first.contains("Warning"), "{first}");

    let created = late.register().await?;
    wait_until_later_than(&test_cluster.admin, created).await?;
    late.report(&["Hostname late", "InternalIP 10.0.0.3"])
        .await?;
    let second = waits(&test_cluster, "csr", "flood-19", "NodeYounger").await;
    // Its budget is used up.
    ensure!(second.is_err(), "{second:?}");
    let node = waits(&test_cluster, "node", "late", "NodeMissing").await?;
    ensure!(node.contains("first in request "), "{node}");
    let events = wait(&test_cluster, "CertificateSigningRequest", |found| {
        !found.is_empty()
    })
    .await?;
    ensure!(events.len() == MOST_WAITS, "{events:#?}");
    ensure!(events.iter().all(|event| regarding(event) != "quick"));
    let of_nodes = wait(&test_cluster, "Node", |found| !found.is_empty()).await?;
    ensure!(of_nodes.len() == 1, "{of_nodes:#?}");
    ensure!(counts(&of_nodes) <= MOST_WAITS as i32, "{of_nodes:#?}");

    // A further Event when the code changes.
    let other = NodeUser::new(&test_cluster.cluster, "other").await?;
    let created = other.register().await?;
    wait_until_later_than(&test_cluster.admin, created).await?;
    test_cluster.ask(&other, "changes", &["10.0.0.4"]).await?;
    waits(&test_cluster, "csr", "changes", "NodeAddressesMissing").await?;
    other
        .report(&["Hostname other", "InternalIP 10.0.0.5"])
        .await?;
    let line = waits(&test_cluster, "csr", "changes", "SanNotOfNode").await?;
    ensure!(line.contains("10.0.0.4"), "{line}");
    other
        .report(&["Hostname other", "InternalIP 10.0.0.4"])
        .await?;
    test_cluster.is_approved("changes").await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    let failed = daemon.stderr().containing("cannot write an Event");
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

/// Waits for a line with this reason in the Events of `kubectl describe`.
async fn waits(test_cluster: &TestCluster, kind: &str, name: &str, reason: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        let describe = ["describe", kind, name];
        let text = test_cluster.cluster.kubectl(&describe).await?;
        let events = text
            .split_once("\nEvents:")
            .map_or("", |(_, events)| events);
        let mut lines = events.lines();
        let reason_of = |line: &str| line.split_whitespace().nth(1) == Some(reason);
        let line = lines.find(|line| reason_of(line) && line.contains(" csr-warden "));
        if let Some(line) = line {
            return Ok(line.to_owned());
        }
        ensure!(begun.elapsed() < WAITS, "{text}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn regarding(event: &Event) -> String {
    let regarding = event.regarding.clone().unwrap_or_default();
    regarding.name.unwrap_or_default()
}

/// Returns the number of denials in all Events.
fn counts(events: &[Event]) -> i32 {
    let count = |event: &Event| event.series.as_ref().map_or(1, |series| series.count);
    events.iter().map(count).sum()
}

/// Waits for Events about objects of this kind.
async fn wait(
    test_cluster: &TestCluster,
    kind: &str,
    arrived: impl Fn(&[Event]) -> bool,
) -> Result<Vec<Event>> {
    let api: Api<Event> = Api::default_namespaced(test_cluster.admin.clone());
    let begun = Instant::now();
    loop {
        let mut found = api.list(&ListParams::default()).await?.items;
        found.retain(|event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            event.reporting_controller.as_deref() == Some("csr-warden")
                && regarding.kind.as_deref() == Some(kind)
        });
        if arrived(&found) {
            return Ok(found);
        }
        ensure!(begun.elapsed() < SOON, "{found:#?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the number of patches of Events, from the metrics of the API server.
async fn patches(test_cluster: &TestCluster) -> Result<u64> {
    let metrics = test_cluster
        .cluster
        .kubectl(&["get", "--raw", "/metrics"])
        .await?;
    let is_patch = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"events\"")
            && line.contains("verb=\"PATCH\"")
    };
    let value = |line: &str| {
        let value = line.rsplit(' ').next().context("value")?;
        anyhow::Ok(value.parse::<u64>()?)
    };
    let found: Vec<u64> = metrics
        .lines()
        .filter(is_patch)
        .map(value)
        .collect::<Result<_>>()?;
    ensure!(!found.is_empty(), "no patch was counted");
    Ok(found.iter().sum())
}

/// Returns the line of the denials in the output of `kubectl describe`.
async fn described(test_cluster: &TestCluster, kind: &str, name: &str) -> Result<String> {
    let text = test_cluster
        .cluster
        .kubectl(&["describe", kind, name])
        .await?;
    let (_, events) = text.split_once("\nEvents:").context("Events")?;
    let mut lines = events.lines().filter(|line| line.contains(" csr-warden "));
    let line = lines.next().with_context(|| text.clone())?;
    ensure!(lines.next().is_none(), "{text}");
    for part in ["Warning", "SanServiceAddress"] {
        ensure!(line.contains(part), "{line}");
    }
    Ok(line.to_owned())
}
