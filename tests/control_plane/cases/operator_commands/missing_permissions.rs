//! A missing permission is reported in one sentence, and no verdict is made without it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::command::{WAIT, admin, ask_for, codes, run};
use crate::cases::test_cluster::TestCluster;
use control_plane::assets::Assets;
use control_plane::node_user::has_no_conditions;

/// A user who may only read requests.
const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
";

pub async fn rights(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    ask_for(&one, "forged", "10.0.0.1", &[], &["127.0.0.1"]).await?;
    let server = test_cluster.cluster.server();
    let missing = [
        &format!(
            "CertificateSigningRequests cannot be read from {server}: a permission is missing"
        ),
        "\"stranger\" cannot list resource \"certificatesigningrequests\"",
    ];
    let stranger = test_cluster.cluster.kubeconfig_for("stranger", &[])?;
    for args in [
        &["explain", "proven"][..],
        &["status"],
        &["approve", "--yes"],
        &["audit"],
    ] {
        run(&stranger, args).await?.fails(&missing)?;
    }

    // Unknown evidence makes verdicts wait, except those that need no evidence.
    test_cluster.cluster.apply(READER).await?;
    let reader = test_cluster.cluster.kubeconfig_for("reader", &[])?;
    let ran = run(&reader, &["explain", "proven", "-o", "json"]).await?;
    let explained = ran.exits(WAIT)?.json("explain")?;
    ensure!(
        codes(&explained)
            .iter()
            .all(|code| *code == "SourceUnready"),
        "{explained}"
    );
    let unread: Vec<&str> = explained["unavailableSources"]
        .as_array()
        .context("unavailableSources")?
        .iter()
        .filter_map(|one| one["source"].as_str())
        .collect();
    let expected = [
        "nodes",
        "namespaces",
        "kubernetes-service",
        "apiserver-endpoints",
        "servicecidrs",
        "cluster-info",
    ];
    ensure!(unread == expected, "{explained}");
    let denied = run(&reader, &["explain", "forged", "-o", "json"]).await?;
    ensure!(denied.json("explain")?["verdict"] == "Deny", "{denied:#?}");
    let status = run(&reader, &["status"]).await?;
    let told = "nodes cannot be read: a permission is missing";
    ensure!(
        status.code == 0 && status.stderr.contains(told),
        "{status:#?}"
    );
    // A Node that cannot be read is not reported as missing.
    ensure!(
        status.stdout.contains("worker-1") && !status.stdout.contains("no Node"),
        "{status:#?}"
    );
    let status = run(&reader, &["status", "-o", "json"]).await?;
    let status = status.json("status")?;
    ensure!(status["items"][0]["nodeExists"].is_null(), "{status}");

    // Permission to read everything and write nothing.
    let rights = [
        "create",
        "clusterrolebinding",
        "viewer",
        "--clusterrole=cluster-admin",
    ];
    test_cluster
        .cluster
        .kubectl(&[&rights[..], &["--user=viewer"]].concat())
        .await?;
    let viewer = test_cluster.cluster.kubeconfig_for("viewer", &[])?;
    run(&viewer, &["approve", "--dry-run", "proven"])
        .await?
        .exits(0)?;
    test_cluster
        .cluster
        .kubectl(&["delete", "clusterrolebinding", "viewer"])
        .await?;
    let daemon = test_cluster.installation.kubeconfig();
    run(daemon, &["explain", "proven"]).await?.exits(0)?;
    let role = r#"[{"op": "remove", "path": "/rules/1"}]"#;
    let patch = [
        "patch",
        "clusterrole",
        "csr-warden",
        "--type=json",
        "-p",
        role,
    ];
    test_cluster.cluster.kubectl(&patch).await?;
    forbidden(&test_cluster, daemon).await?;

    // No server is listening.
    let gone = std::fs::read_to_string(test_cluster.cluster.admin_kubeconfig())?;
    let gone = gone.replace(test_cluster.cluster.server(), "https://127.0.0.1:1");
    let file = test_cluster.cluster.dir().join("gone.conf");
    std::fs::write(&file, gone)?;
    run(&file, &["status"])
        .await?
        .fails(&["the API server cannot be reached", "refused"])?;
    admin(&test_cluster, &["explain", "proven"])
        .await?
        .exits(0)?;
    Ok(())
}

/// Without the permission to write there is an error, and nothing is written.
async fn forbidden(test_cluster: &TestCluster, kubeconfig: &Path) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let ran = run(kubeconfig, &["approve", "--yes", "proven"]).await?;
        // Until the API server's cache of roles is up to date.
        if ran.code == 2 {
            ran.fails(&["cannot write a condition: proven: a permission is missing"])?;
            break;
        }
        ensure!(
            begun.elapsed() < crate::cases::test_cluster::SOON,
            "{ran:#?}"
        );
    }
    let api: kube::Api<k8s_openapi::api::certificates::v1::CertificateSigningRequest> =
        kube::Api::all(test_cluster.admin.clone());
    ensure!(
        has_no_conditions(&api.get("proven").await?),
        "it was written"
    );
    Ok(())
}
