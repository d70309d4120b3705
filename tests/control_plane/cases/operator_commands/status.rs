//! `status`: nodes and requests, sorted by the need for attention.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::sleep;

use super::command::{APPROVE, admin, ask_for, codes};
use crate::BINARY;
use crate::cases::test_cluster::{SOON, TestCluster};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::node_user::issued;
use control_plane::process::{Launch, Process};

/// Returns node, request and state of each line.
fn lines(status: &Value) -> Vec<(&str, &str, &str)> {
    let items = status["items"].as_array().into_iter().flatten();
    items
        .map(|item| {
            let text = |field: &str| item[field].as_str().unwrap_or("-");
            (text("node"), text("request"), text("state"))
        })
        .collect()
}

/// Returns true if `status --watch` runs with this kubeconfig.
fn has_watch(kubeconfig: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut commands = processes.filter_map(|process| {
        let command = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&command).into_owned())
    });
    commands.any(|command| command.contains("--watch") && command.contains(kubeconfig))
}

pub async fn status(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    admin(&test_cluster, &["status"])
        .await?
        .exits(APPROVE)?
        .says(&["No nodes and no requests found"])?;
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    let two = test_cluster.node("worker-2", &["10.0.0.2"]).await?;
    let three = test_cluster.node("worker-3", &["10.0.0.3"]).await?;
    test_cluster.node("worker-4", &["10.0.0.4"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    ask_for(&two, "early", "10.0.0.2", &[], &["10.0.0.9"]).await?;
    ask_for(&three, "forged", "10.0.0.3", &["localhost"], &[]).await?;

    let before = admin(&test_cluster, &["status", "-o", "json"])
        .await?
        .json("status")?;
    let expected = [
        ("worker-3", "forged", "Deny"),
        ("worker-2", "early", "Wait"),
        ("worker-1", "proven", "Approve"),
        ("worker-4", "-", "None"),
    ];
    ensure!(lines(&before) == expected, "{before}");
    ensure!(codes(&before["items"][1]) == ["SanNotOfNode"], "{before}");
    let change = before["items"][1]["findings"][0]["remedy"].as_str();
    ensure!(
        change == Some("Changes when Node worker-2 gets it among its addresses."),
        "{before}"
    );
    let yaml = admin(&test_cluster, &["status", "-o", "yaml"]).await?;
    let mut yaml: Value = serde_saphyr::from_str(&yaml.stdout)?;
    yaml["time"] = before["time"].clone();
    ensure!(yaml == before, "{yaml}");

    // With `--watch` and without a terminal, only changes are written.
    let kubeconfig = test_cluster
        .cluster
        .admin_kubeconfig()
        .to_str()
        .context("path")?;
    let args = [
        "status",
        "--watch",
        "--interval",
        "1",
        "--kubeconfig",
        kubeconfig,
    ];
    let watch = Launch::new("watch", Path::new(BINARY), test_cluster.cluster.dir());
    let watching = Process::spawn(watch.with_stdin().args(args))?;
    let seen = |text: &'static str| {
        let stdout = &watching.stdout;
        async move {
            let line = |line: &str| line.starts_with(text).then_some(());
            stdout
                .find(SOON, line)
                .await
                .with_context(|| format!("no line `{text}`"))
        }
    };
    seen("worker-1   proven    Approve").await?;

    test_cluster
        .cluster
        .kubectl(&["certificate", "approve", "proven"])
        .await?;
    issued(&test_cluster.admin, "proven").await?;
    seen("worker-1   proven    Issued").await?;
    let headers = watching.stdout.containing("NODE ").len();
    ensure!(headers <= 3, "{:#?}", watching.stdout.lines());
    drop(watching);

    // On a terminal the table is redrawn.
    let command = format!("'{BINARY}' {}", args.join(" "));
    let script = Launch::new(
        "terminal",
        Path::new("/usr/bin/script"),
        test_cluster.cluster.dir(),
    );
    let args = ["--quiet", "--flush", "--command", &command, "/dev/null"];
    let terminal = Process::spawn(script.with_stdin().args(args))?;
    let mut drawn = 0;
    let twice = |line: &str| {
        drawn += usize::from(line.contains("\u{1b}[H\u{1b}[2JEvery 1 s: csr-warden status"));
        (drawn == 2).then_some(())
    };
    let seen = terminal.stdout.find(SOON, twice).await;
    seen.context("not redrawn")?;
    drop(terminal);
    // The process ends with its terminal.
    let begun = Instant::now();
    while has_watch(kubeconfig) {
        ensure!(begun.elapsed() < SOON, "it goes on without a terminal");
        sleep(POLL_INTERVAL).await;
    }

    let after = admin(&test_cluster, &["status", "-o", "json"])
        .await?
        .json("status")?;
    let expected = [
        ("worker-3", "forged", "Deny"),
        ("worker-2", "early", "Wait"),
        ("worker-1", "proven", "Issued"),
        ("worker-4", "-", "None"),
    ];
    ensure!(lines(&after) == expected, "{after}");
    let certificate = &after["items"][2]["certificate"];
    ensure!(certificate["sans"][1] == "IP:10.0.0.1", "{after}");
    let ends: jiff::Timestamp = certificate["notAfter"].as_str().context("ends")?.parse()?;
    let left = ends.duration_since(jiff::Timestamp::now()).as_hours();
    ensure!((364 * 24..=365 * 24).contains(&left), "{ends}");
    admin(&test_cluster, &["status"])
        .await?
        .exits(APPROVE)?
        .says(&[
            "NODE REQUEST STATE AGE EXPIRES REASON",
            "364d",
            "SanClusterName",
        ])?;
    let wide = admin(&test_cluster, &["status", "-o", "wide"]).await?;
    ensure!(wide.stdout.contains("worker-1,10.0.0.1"), "{}", wide.stdout);
    Ok(())
}
