//! Flags that commands share with kubectl, on a real API server, and completion in a real kubectl.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::command::{APPROVE, admin, ran};
use crate::BINARY;
use crate::cases::test_cluster::TestCluster;
use control_plane::assets::Assets;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/krew/kubectl_complete-csr_warden"
);

/// Lets a user be impersonated with one UID, one group and one extra value.
const IMPERSONATOR: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: impersonator}
rules:
  - {apiGroups: [''], resources: [users], verbs: [impersonate], resourceNames: [someone]}
  - {apiGroups: [''], resources: [groups], verbs: [impersonate], resourceNames: ['system:masters']}
  - {apiGroups: [authentication.k8s.io], resources: [uids], verbs: [impersonate], resourceNames: ['7']}
  - {apiGroups: [authentication.k8s.io], resources: [userextras/reason], verbs: [impersonate], resourceNames: [a=b]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: impersonator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: impersonator}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: impersonator}]
";

pub async fn flags(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    let cluster = &test_cluster.cluster;
    cluster.apply(IMPERSONATOR).await?;
    let impersonator = cluster.kubeconfig_for("impersonator", &[])?;
    let status = async |flags: &[&str]| {
        let args = [&["status"], flags].concat();
        super::command::run(&impersonator, &args).await
    };
    let someone = ["--as", "someone"];
    let forbidden = "User \"someone\" cannot list resource";
    status(&someone).await?.fails(&[forbidden])?;
    let all = [
        &someone[..],
        &["--as-group", "system:masters", "--as-uid", "7"],
        &["--as-user-extra", "reason=a=b"],
    ]
    .concat();
    status(&all).await?.exits(APPROVE)?.says(&["worker-1"])?;
    // Each part reaches the API server, which does not allow another one.
    for (flag, other) in [
        ("--as-group", "system:nodes"),
        ("--as-uid", "8"),
        ("--as-user-extra", "reason=b"),
    ] {
        let more = [&all[..], &[flag, other]].concat();
        // The last UID counts, and clap allows one.
        let more = if flag == "--as-uid" {
            let others = all.iter().copied();
            others
                .map(|word| if word == "7" { other } else { word })
                .collect()
        } else {
            more
        };
        status(&more).await?.fails(&["impersonat"])?;
    }

    let version = admin(&test_cluster, &["version", "-o", "json"]).await?;
    let versions = version.exits(APPROVE)?.json("version")?;
    let found = versions["server"]["version"].as_str().context("version")?;
    let expected = cluster.kubectl(&["version", "-o", "json"]).await?;
    ensure!(
        expected.contains(&format!("\"{found}\"")),
        "{versions}: {expected}"
    );
    let labels = ["status", "-l", "kubernetes.io/os=none", "--no-headers"];
    let none = admin(&test_cluster, &labels).await?.exits(APPROVE)?;
    ensure!(none.stdout.is_empty(), "{none:?}");
    let wrong = ["status", "-l", "a in"];
    admin(&test_cluster, &wrong)
        .await?
        .fails(&["cannot select Nodes by `a in`"])
}

pub async fn completion(assets: Arc<Assets>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let link = |target: &Path, name: &str| symlink(target, dir.path().join(name));
    link(Path::new(BINARY), "kubectl-csr_warden")?;
    link(Path::new(SCRIPT), "kubectl_complete-csr_warden")?;
    link(&assets.kubectl, "kubectl")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", dir.path().display());
    for (words, expected, other) in [
        (&["csr-warden", "do"][..], "doctor\tCheck ", "status"),
        (
            &["csr-warden", "status", "--no-h"],
            "--no-headers\t",
            "--watch",
        ),
        (&["csr-warden", "status", "-o", ""], "wide", "text"),
        (&["csr-warden", "policy", "sch"], "schema\t", "show"),
    ] {
        let mut kubectl = Command::new(&assets.kubectl);
        kubectl.arg("__complete").args(words).env("PATH", &path);
        let ran = ran(kubectl).await?;
        let mut lines = ran.stdout.lines();
        ensure!(
            lines.any(|line| line.starts_with(expected)),
            "{words:?}: {ran:#?}"
        );
        ensure!(!ran.stdout.contains(other), "{words:?}: {ran:#?}");
        ensure!(ran.stdout.ends_with(":4\n"), "{words:?}: {ran:#?}");
    }
    Ok(())
}
