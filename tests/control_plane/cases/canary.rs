//! A second version beside the production one: a dry run with another policy, whose verdicts `status --compare`
//! reads from the logs of both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::operator_commands::command::admin;
use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::decision_log;
use control_plane::kubelet_port::KubeletPort;
use control_plane::netns;

/// The node of the Pods, whose kubelet has their logs.
const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const KUBELET: u16 = 10250;
const PRODUCTION: &str = "csr-warden";
const CANARY: &str = "canary-csr-warden";

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "canary_verdicts_are_compared",
        Needs::OwnNetwork,
        verdicts_are_compared,
    )]
}

/// Starts the kubelet of the Pods. The log of a Pod is that of the process with its name.
async fn kubelet(cluster: &Cluster) -> Result<KubeletPort> {
    let logs = cluster.dir().to_owned();
    let pair = cluster
        .authority()
        .serving("kubelet", &[], &[CONTROL.into()])?;
    let (chain, key) = (
        std::fs::read(pair.cert)?,
        std::fs::read_to_string(pair.key)?,
    );
    let answer = move |path: &str| {
        let pod = path.split('/').nth(3).unwrap_or_default();
        read_log(&logs, pod)
    };
    let at = SocketAddr::from((CONTROL, KUBELET));
    KubeletPort::answering(at, &chain, &key, answer).await
}

fn read_log(dir: &Path, pod: &str) -> String {
    std::fs::read_to_string(dir.join(format!("{pod}.log"))).unwrap_or_default()
}

/// Creates a Deployment with these labels, and its Pod.
async fn deploy(cluster: &Cluster, name: &str, create: bool) -> Result<()> {
    let labels = json!({"app.kubernetes.io/instance": name});
    let container = json!({"name": "csr-warden", "image": "csr-warden"});
    if create {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        });
        cluster.apply(&deployment.to_string()).await?;
    }
    let found = ["get", "deployment", name, "-n", "kube-system", "-o"];
    let template = "jsonpath={.spec.selector.matchLabels}";
    let labels = cluster.kubectl(&[&found[..], &[template]].concat()).await?;
    let labels: serde_json::Value = serde_json::from_str(&labels)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {
            "nodeName": "control-1", "serviceAccountName": "csr-warden",
            "automountServiceAccountToken": false, "containers": [container],
        },
    });
    cluster.apply(&pod.to_string()).await
}

async fn verdicts_are_compared(assets: Arc<Assets>) -> Result<()> {
    netns::add(CONTROL)?;
    let options = Options {
        advertise: Some(netns::ADDRESS),
        verify_kubelets: true,
        api_server_args: vec!["--kubelet-preferred-address-types=InternalIP".to_owned()],
        ..Options::default()
    };
    let test_cluster = TestCluster::with(&assets, options).await?;
    let cluster = &test_cluster.cluster;
    let _kubelet = kubelet(cluster).await?;
    test_cluster
        .node("control-1", &[&CONTROL.to_string()])
        .await?;
    // The Deployment of the manifests is production.
    deploy(cluster, PRODUCTION, false).await?;
    deploy(cluster, CANARY, true).await?;

    let mut production = test_cluster.installation.start(PRODUCTION, &[])?;
    production.wait_ready(SOON).await?;
    let compare = ["status", "--compare", PRODUCTION, CANARY];
    let early = admin(&test_cluster, &compare).await?;
    ensure!(early.code == 0, "{early:?}");

    // Another policy, with the rights of the same ServiceAccount, which has no right to the Lease.
    let args = [
        "--enforcement=DryRun",
        "--policy=strict",
        "--lease-name=canary",
    ];
    let mut canary = test_cluster.installation.start(CANARY, &args)?;
    canary.wait_ready(SOON).await?;
    let waits = test_cluster.node("waits", &["10.0.0.1"]).await?;
    // Both wait, for the same reason.
    test_cluster.ask(&waits, "same", &["10.0.0.9"]).await?;
    for daemon in [&production, &canary] {
        let seen = |line: &str| {
            let decision = decision_log::parse(line)?;
            (decision.request == "same" && decision.verdict == "Wait").then_some(())
        };
        ensure!(daemon.stdout().find(SOON, seen).await.is_some());
    }
    // Denied by production, and by the canary's judgment too.
    test_cluster.ask(&waits, "forged", &["10.96.0.77"]).await?;
    let forged = |line: &str| {
        let decision = decision_log::parse(line)?;
        (decision.request == "forged" && decision.verdict == "Deny").then_some(())
    };
    ensure!(canary.stdout().find(SOON, forged).await.is_some());
    // Approved by production. No source of the canary's policy vouches for it.
    let node = test_cluster.node("differs", &["10.0.0.2"]).await?;
    test_cluster.ask(&node, "differs", &["10.0.0.2"]).await?;
    test_cluster.is_approved("differs").await?;

    let json = [&compare[..], &["-o", "json"]].concat();
    let found = admin(&test_cluster, &json).await?.json("comparison")?;
    let deployments = found["deployments"].as_array().context("deployments")?;
    ensure!(
        deployments[0]["enforcements"] == json!(["ApproveAndDeny"]),
        "{found}"
    );
    ensure!(
        deployments[1]["enforcements"] == json!(["DryRun"]),
        "{found}"
    );
    let items = found["items"].as_array().context("items")?;
    let differs = items.iter().find(|item| item["request"] == "differs");
    let differs = differs.context("production approves what the canary does not")?;
    ensure!(differs["isOpen"] == false, "{found}");
    ensure!(differs["verdicts"][0]["verdict"] == "Approve", "{found}");
    ensure!(differs["verdicts"][1]["verdict"] == "Wait", "{found}");
    let same = items.iter().find(|item| item["request"] == "same");
    let same = same.context("`same` has the codes of the strict policy too")?;
    ensure!(same["isOpen"] == true, "{found}");
    let verdicts = &same["verdicts"];
    ensure!(verdicts[0]["verdict"] == verdicts[1]["verdict"], "{found}");
    ensure!(verdicts[0]["codes"] != verdicts[1]["codes"], "{found}");
    let text = admin(&test_cluster, &compare).await?;
    text.exits(1)?.says(&[
        "A kube-system/csr-warden 0.1.0 default",
        "strict (",
        "Wait SanNotOfNode",
        "SanUncorroborated",
    ])?;

    // With the same policy nothing differs.
    canary.sigterm(Duration::from_secs(5)).await?;
    std::fs::remove_file(cluster.dir().join(format!("{CANARY}.log")))?;
    let args = ["--enforcement=DryRun", "--lease-name=canary"];
    let mut canary = test_cluster.installation.start(CANARY, &args)?;
    canary.wait_ready(SOON).await?;
    let codes = decision_log::of(production.stdout(), "same");
    let codes = codes.last().context("no decision")?.codes.clone();
    decision_log::expect(canary.stdout(), "same", "Wait", &codes).await?;
    let text = admin(&test_cluster, &compare).await?;
    ensure!(text.code == 0, "{text:?}");

    let absent = ["status", "--compare", PRODUCTION, "nothing"];
    let error = admin(&test_cluster, &absent).await?;
    ensure!(error.code == 2, "{error:?}");
    canary.sigterm(Duration::from_secs(5)).await?;
    production.sigterm(Duration::from_secs(5)).await?;
    test_cluster.has_no_conditions("same").await
}
