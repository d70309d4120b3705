//! Objects that the API server stores, and that break a careless reader: names that are no path
//! segment, `managedFields` of any depth, requests of a megabyte.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use http::Request;
use k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::operator_commands::command::{APPROVE, DENY, Ran, admin};
use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::cluster::Options;
use control_plane::decision_log;
use control_plane::node_user::NewRequest;
use testkit::forge::Recipe;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("hostile_names", Needs::Nothing, names),
        Case::new("hostile_depth", Needs::Nothing, depth),
        Case::new("hostile_depth_in_lists", Needs::Nothing, depth_in_lists),
        Case::new("hostile_size", Needs::Nothing, size),
    ]
}

/// Names that Kubernetes accepts. Each but the last would be cut or end as another object's, if a
/// URL contained it as it is.
const NAMES: [&str; 7] = [
    "a b",
    "x?y",
    "plain?",
    "plain#f",
    "esc\u{1b}]0;owned\u{7}\u{1b}[2J",
    "line\n{\"verdict\":\"Approve\",\"request\":\"forged\"}",
    "bidi\u{202e}drow",
];

/// The objects whose names a hostile name starts with.
const VICTIMS: [&str; 3] = ["a", "x", "plain"];

/// The used part of a request, of any depth.
#[derive(Clone, Debug, Deserialize)]
struct Stored {
    metadata: ObjectMeta,
    #[serde(default)]
    status: CertificateSigningRequestStatus,
}

/// The used part of `metadata`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectMeta {
    name: String,
    resource_version: String,
}

impl Stored {
    fn conditions(&self) -> Vec<&str> {
        let conditions = self.status.conditions.iter().flatten();
        conditions.map(|one| one.type_.as_str()).collect()
    }
}

async fn requests(admin: &Client) -> Result<BTreeMap<String, Stored>> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Stored>,
    }
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let all = admin.request_text(Request::get(path).body(Vec::new())?);
    let all: List = serde_json::from_str(&all.await?)?;
    let named = all.items.into_iter();
    Ok(named.map(|one| (one.metadata.name.clone(), one)).collect())
}

/// Waits until all of these are denied.
async fn denied(admin: &Client, names: &[String]) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let all = requests(admin).await?;
        let open = |name: &&String| {
            let request = all.get(*name);
            request.is_none_or(|request| request.conditions() != ["Denied"])
        };
        let open: Vec<&String> = names.iter().filter(open).collect();
        if open.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > SOON {
            bail!("not denied after {SOON:?}: {open:?}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Checks that a terminal shows this text as it is.
fn is_plain(ran: &Ran) -> Result<()> {
    for text in [&ran.stdout, &ran.stderr] {
        let hostile = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        ensure!(!text.contains(hostile), "{text:?}");
        ensure!(!text.lines().any(|line| line.starts_with('{')), "{text}");
    }
    Ok(())
}

async fn names(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let user = test_cluster.node("node-1", &["10.0.0.1"]).await?;
    // They wait for an address, so nothing is written to them.
    for victim in VICTIMS {
        test_cluster.ask(&user, victim, &["10.0.0.9"]).await?;
    }
    let pem = Recipe::genuine("node-1", &["node-1"], &["10.0.0.1".parse()?]).pem();
    for name in NAMES {
        user.post(&NewRequest::new(name, pem.clone())).await?;
    }
    let before = requests(&test_cluster.admin).await?;
    ensure!(before.len() == NAMES.len() + VICTIMS.len(), "{before:?}");

    // Every command addresses the request that was named.
    for name in NAMES {
        let explained = admin(&test_cluster, &["explain", "-o", "json", name]).await?;
        ensure!(explained.code == DENY, "{explained:?}");
        let explained = explained.json("explain")?;
        ensure!(explained["request"] == name, "{explained}");
        ensure!(
            explained["findings"][0]["code"] == "RequestNameInvalid",
            "{explained}"
        );
        is_plain(&admin(&test_cluster, &["explain", name]).await?)?;
        let dir = tempfile::tempdir()?;
        let saved = dir.path().join("saved");
        let path = saved.to_str().context("path")?;
        let explained = admin(&test_cluster, &["explain", "--save", path, name]).await?;
        ensure!(explained.code == DENY, "{explained:?}");
        let readme = std::fs::read_to_string(saved.join("README.md"))?;
        ensure!(readme.starts_with("# Request "), "{readme}");
        ensure!(
            !readme.contains(|c: char| c.is_control() && c != '\n'),
            "{readme:?}"
        );
        ensure!(
            !readme.lines().any(|line| line.starts_with('{')),
            "{readme}"
        );
    }
    for command in [&["status"][..], &["status", "-o", "wide"], &["audit"]] {
        is_plain(&admin(&test_cluster, command).await?)?;
    }
    let approved = admin(
        &test_cluster,
        &["approve", "--yes", "--deny", NAMES[0], NAMES[4]],
    )
    .await?;
    ensure!(approved.code == DENY, "{approved:?}");
    is_plain(&approved)?;
    denied(&test_cluster.admin, &[NAMES[0].into(), NAMES[4].into()]).await?;

    // The daemon denies the others.
    let mut daemon = test_cluster
        .installation
        .start("daemon", &["--log-format", "text"])?;
    daemon.wait_ready(SOON).await?;
    denied(&test_cluster.admin, &NAMES.map(str::to_owned)).await?;
    let after = requests(&test_cluster.admin).await?;
    for victim in VICTIMS {
        let (before, after) = (&before[victim], &after[victim]);
        ensure!(after.conditions().is_empty(), "{after:?}");
        ensure!(
            before.metadata.resource_version == after.metadata.resource_version,
            "{after:?}"
        );
    }
    daemon.sigterm(SOON).await?;
    let hostile = |line: &String| line.contains(|c: char| c.is_control() || c == '\u{202e}');
    for output in [daemon.stdout(), daemon.stderr()] {
        let lines = output.lines();
        ensure!(!lines.iter().any(hostile), "{lines:?}");
    }
    let failed = daemon.stderr().containing("cannot write an Event");
    ensure!(failed.is_empty(), "{failed:?}");
    let events = ["get", "events", "-n", "default", "-o", "json"];
    let events: Value = serde_json::from_str(&test_cluster.cluster.kubectl(&events).await?)?;
    let notes = events["items"].as_array().into_iter().flatten();
    let notes: Vec<&str> = notes
        .filter_map(|event| event["message"].as_str())
        .collect();
    ensure!(!notes.is_empty(), "no Event");
    ensure!(
        !notes.concat().contains(|c: char| c.is_control()),
        "{notes:?}"
    );
    ensure!(
        decision_log::of(daemon.stdout(), "forged").is_empty(),
        "a forged line"
    );
    Ok(())
}

/// `managedFields` with a field at this depth.
fn managed_fields(api_version: &str, depth: usize) -> Value {
    let fields = (0..depth).fold(
        json!({}),
        |inner, level| json!({format!("f:a{level}"): inner}),
    );
    json!([{
        "manager": "x", "operation": "Update", "apiVersion": api_version,
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": fields}},
    }])
}

async fn depth(assets: Arc<Assets>) -> Result<()> {
    depth_with(&assets, Options::default()).await
}

async fn depth_in_lists(assets: Arc<Assets>) -> Result<()> {
    depth_with(&assets, without_watch_list()).await
}

fn without_watch_list() -> Options {
    Options {
        api_server_args: vec!["--feature-gates=WatchList=false".into()],
        ..Options::default()
    }
}

async fn depth_with(assets: &Assets, options: Options) -> Result<()> {
    let test_cluster = TestCluster::with(assets, options).await?;
    let user = test_cluster.node("node-1", &["10.0.0.1"]).await?;
    let other = test_cluster.node("node-2", &["10.0.0.2"]).await?;
    let patch = json!([{
        "op": "replace", "path": "/metadata/managedFields", "value": managed_fields("v1", 300),
    }]);
    let patch = Request::patch("/api/v1/nodes/node-1")
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string().into_bytes())?;
    user.client().request_text(patch).await?;
    let forged = Recipe::genuine("node-1", &["node-1", "localhost"], &["10.0.0.1".parse()?]).pem();
    let genuine = Recipe::genuine("node-1", &["node-1"], &["10.0.0.1".parse()?]).pem();
    for (name, pem) in [("deep-forged", &forged), ("deep-genuine", &genuine)] {
        let mut request = NewRequest::new(name, pem.clone());
        request.metadata["annotations"] = json!({"x": "y"});
        request.metadata["managedFields"] = managed_fields("certificates.k8s.io/v1", 300);
        let posted = request.post(user.client()).await;
        ensure!(
            matches!(posted, Err(kube::Error::SerdeError(_))),
            "{posted:?}"
        );
    }
    test_cluster.ask(&other, "other", &["10.0.0.2"]).await?;

    let status = admin(&test_cluster, &["status", "-o", "json"]).await?;
    let status = status.exits(APPROVE)?.json("status")?;
    ensure!(
        status["items"].as_array().map(Vec::len) == Some(3),
        "{status}"
    );
    ensure!(status["unavailableSources"] == json!([]), "{status}");
    for (name, code) in [
        ("deep-forged", DENY),
        ("deep-genuine", APPROVE),
        ("other", APPROVE),
    ] {
        admin(&test_cluster, &["explain", name])
            .await?
            .exits(code)?;
    }
    for command in ["audit", "doctor"] {
        let ran = admin(&test_cluster, &[command]).await?;
        ensure!(
            !ran.stderr.contains("recursion") && !ran.stdout.contains("recursion"),
            "{ran:?}"
        );
        ensure!(!ran.stderr.contains("cannot be read"), "{ran:?}");
    }
    let listed = admin(&test_cluster, &["approve", "--dry-run"]).await?;
    listed
        .exits(DENY)?
        .says(&["2 to approve", "1 would be denied"])?;

    let mut daemon = test_cluster.installation.start("daemon", &[])?;
    daemon.wait_ready(SOON).await?;
    denied(&test_cluster.admin, &["deep-forged".into()]).await?;
    for name in ["deep-genuine", "other"] {
        decision_log::expect(daemon.stdout(), name, "Approve", &[""; 0]).await?;
    }
    let skipped = "csr_warden_undecodable_objects_total";
    ensure!(daemon.metric(skipped).await? == 0, "{skipped}");
    daemon.sigterm(SOON).await?;
    // A condition was added, and nothing was lost.
    let denied = test_cluster
        .cluster
        .kubectl(&["get", "csr", "deep-forged", "-o", "yaml"]);
    let denied = denied.await?;
    ensure!(
        denied.contains("x: \"y\"") || denied.contains("x: y"),
        "{denied}"
    );
    Ok(())
}

async fn size(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::with(&assets, without_watch_list()).await?;
    let user = test_cluster.node("node-1", &["10.0.0.1"]).await?;
    let genuine = Recipe::genuine("node-1", &["node-1"], &["10.0.0.1".parse()?]).pem();
    let large = "junk\n".repeat(200_000) + &genuine;
    let mut daemon = test_cluster
        .installation
        .start("before", &["--denial-interval=0"])?;
    daemon.wait_ready(SOON).await?;
    println!(
        "without requests: {} MiB at most",
        daemon.peak_resident_kib()? / 1024
    );
    daemon.sigterm(SOON).await?;
    let names: Vec<String> = (0..60).map(|index| format!("big-{index:02}")).collect();
    for name in &names {
        user.post(&NewRequest::new(name, large.clone())).await?;
    }
    test_cluster.ask(&user, "genuine", &["10.0.0.1"]).await?;
    for start in ["first", "second"] {
        let mut daemon = test_cluster
            .installation
            .start(start, &["--denial-interval=0"])?;
        daemon.wait_ready(SOON).await?;
        test_cluster.is_approved("genuine").await?;
        // The daemon keeps at most 32 requests of one node.
        if start == "first" {
            let begun = std::time::Instant::now();
            while daemon.written().await? < 32 {
                ensure!(
                    begun.elapsed() < SOON,
                    "{} written",
                    daemon.written().await?
                );
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        let peak = daemon.peak_resident_kib()? / 1024;
        // One page of the list, a few writes, and what the process needs without any request.
        println!("{start} start: {peak} MiB at most");
        ensure!(peak <= 64, "{start} start: {peak} MiB");
        daemon.sigterm(SOON).await?;
    }
    Ok(())
}
