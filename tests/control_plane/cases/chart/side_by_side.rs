//! Two releases in one namespace, and `helm test` of one of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::releases::{IMAGE, NAMESPACE, Releases};
use crate::BINARY;
use crate::cases::test_cluster::SOON;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::decision_log;
use control_plane::manifests::{CHART, objects};
use control_plane::node_user::{NewRequest, NodeUser, has_no_conditions};
use control_plane::{POLL_INTERVAL, ports};
use testkit::forge::Recipe;

const RELEASES: [&str; 2] = ["csr-warden", "canary"];
const REPLICAS: usize = 2;
/// The rights of a release to write: group, resource, subresource, verb and name.
const WRITES: [(&str, &str, &str, &str, &str); 4] = [
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        "approval",
        "update",
        "",
    ),
    (
        "certificates.k8s.io",
        "signers",
        "",
        "approve",
        "kubernetes.io/kubelet-serving",
    ),
    ("coordination.k8s.io", "leases", "", "update", "LEASE"),
    ("events.k8s.io", "events", "", "create", ""),
];

/// Selectors, PodDisruptionBudgets and Leases of two releases are separate, and `helm test` has the
/// rights of its release.
pub async fn are_separate(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        workloads: true,
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let releases = Releases {
        assets: &assets,
        cluster: &cluster,
    };
    for name in RELEASES {
        let replicas = format!("--set=replicas={REPLICAS}");
        releases.helm(&["install", name, CHART, NAMESPACE, IMAGE, &replicas])?;
    }
    let pods = all_pods(&cluster).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.admin(), "kube-system");
    let budgets = budgets.list(&ListParams::default()).await?.items;
    ensure!(budgets.len() == RELEASES.len(), "{budgets:?}");
    for pod in &pods {
        let of_pod = budgets.iter().filter(|budget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            selector.is_some_and(|selector| selects(selector, pod))
        });
        // The eviction API rejects a Pod with two budgets.
        ensure!(of_pod.count() == 1, "{pod:?}");
    }

    let mut daemons = Vec::new();
    for name in RELEASES {
        daemons.push(daemon(&releases, name).await?);
    }
    for daemon in &mut daemons {
        daemon.wait_ready(SOON).await?;
        let begun = Instant::now();
        while !daemon.is_leader().await? {
            ensure!(begun.elapsed() < SOON, "two releases share a Lease");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    dry_run(&releases).await?;
    doctor(&releases).await
}

/// A release with `enforcement` DryRun is ready and judges, without any right to write.
async fn dry_run(releases: &Releases<'_>) -> Result<()> {
    const NAME: &str = "dry";
    // As docs/upgrade.md says.
    let values = releases.helm(&["get", "values", "csr-warden", NAMESPACE, "--output=yaml"])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values)?;
    let values = format!("--values={}", file.path().display());
    let set = "--set=enforcement=DryRun,replicas=1,fullnameOverride=";
    let install = ["upgrade", "--install", NAME, CHART, NAMESPACE];
    let notes = releases.helm(&[&install[..], &[&values, set]].concat())?;
    ensure!(notes.contains("approves nothing yet"), "{notes}");
    let cluster = releases.cluster;
    let mut daemon = daemon(releases, NAME).await?;
    daemon.wait_ready(SOON).await?;
    let node = NodeUser::new(cluster, "node-1").await?;
    node.register().await?;
    let recipe = Recipe::genuine("node-1", &["node-1"], &[]);
    node.post(&NewRequest::new("judged", recipe.pem())).await?;
    let judged = |line: &str| (decision_log::parse(line)?.request == "judged").then_some(());
    ensure!(daemon.stdout().find(SOON, judged).await.is_some());
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    ensure!(has_no_conditions(&requests.get("judged").await?));

    for (group, resource, subresource, verb, name) in WRITES {
        for (account, expected) in [("csr-warden", true), ("dry-csr-warden", false)] {
            let name = if name == "LEASE" { account } else { name };
            let attributes = json!({
                "group": group, "resource": resource, "subresource": subresource,
                "verb": verb, "name": name, "namespace": if group == "events.k8s.io" { "default" } else { "kube-system" },
            });
            let allowed = is_allowed(cluster, account, &attributes).await?;
            ensure!(allowed == expected, "{account}: {attributes}");
        }
    }
    daemon.sigterm(SOON).await?;
    Ok(())
}

/// Asks the API server whether a ServiceAccount may do this.
async fn is_allowed(cluster: &Cluster, account: &str, attributes: &Value) -> Result<bool> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:kube-system:{account}"),
            "resourceAttributes": attributes,
        },
    });
    let create = ["create", "-f", "-", "-o", "jsonpath={.status.allowed}"];
    let output = cluster.kubectl_output(&create, &review.to_string()).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(output.stdout == b"true")
}

/// Waits for the Pods of both releases, as their controllers create them.
async fn all_pods(cluster: &Cluster) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(cluster.admin(), "kube-system");
    let begun = Instant::now();
    loop {
        let found = pods.list(&ListParams::default()).await?.items;
        if found.len() == RELEASES.len() * REPLICAS {
            return Ok(found);
        }
        ensure!(begun.elapsed() < SOON, "{found:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let wanted = selector.match_labels.clone().unwrap_or_default();
    !wanted.is_empty()
        && wanted
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
}

/// Starts the daemon of a release, with the arguments and the ServiceAccount of its Pods.
async fn daemon(releases: &Releases<'_>, release: &str) -> Result<Daemon> {
    let manifest = objects(&releases.helm(&["get", "manifest", release, NAMESPACE])?)?;
    let deployment = manifest
        .iter()
        .find(|(key, _)| key.starts_with("Deployment "));
    let pod = &deployment.context("no Deployment")?.1["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().context("an account")?;
    let args = pod["containers"][0]["args"].as_array().context("args")?;
    let cluster = releases.cluster;
    let token = cluster.token("kube-system", account).await?;
    let kubeconfig = cluster.kubeconfig_for_token(&token)?;
    let [port] = ports::free::<1>()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut all: Vec<String> = args
        .iter()
        .filter_map(|one| Some(one.as_str()?.to_owned()))
        .collect();
    all.push(format!("--kubeconfig={}", kubeconfig.display()));
    all.push(format!("--bind-address={address}"));
    let host = [("HOSTNAME", release.to_owned())];
    let binary = Path::new(BINARY);
    Daemon::start(binary, release, cluster.dir(), address, all, host)
}

/// `helm test` creates a Pod. Its command, run with the rights of the Pod, ends the Pod.
async fn doctor(releases: &Releases<'_>) -> Result<()> {
    let (assets, kubeconfig) = (releases.assets, releases.cluster.admin_kubeconfig());
    std::thread::scope(|threads| {
        let test = ["test", "csr-warden", NAMESPACE, "--timeout=60s"];
        let test =
            threads.spawn(move || control_plane::manifests::helm(assets, Some(kubeconfig), test));
        let ran = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(run_its_pod(releases.cluster))
        });
        let output = test.join().expect("no panic")?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let report = ran.with_context(|| format!("{stdout}{stderr}"))?;
        let passed = output.status.success() && stdout.contains("Succeeded");
        ensure!(passed, "{stdout}{stderr}\n{report}");
        Ok(())
    })
}

async fn run_its_pod(cluster: &Cluster) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.admin(), "kube-system");
    let begun = Instant::now();
    let pod = loop {
        if let Some(pod) = pods.get_opt("csr-warden-doctor").await? {
            break pod;
        }
        ensure!(begun.elapsed() < SOON, "no Pod of `helm test`");
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let spec = pod.spec.context("a spec")?;
    let account = spec.service_account_name.context("an account")?;
    let container = spec.containers.first().context("a container")?;
    let token = cluster.token("kube-system", &account).await?;
    let output = Command::new(BINARY)
        .args(container.args.iter().flatten())
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig_for_token(&token)?)
        .output()?;
    let report = String::from_utf8(output.stdout)?;
    let phase = if output.status.success() {
        "Succeeded"
    } else {
        "Failed"
    };
    let status = Patch::Merge(json!({"status": {"phase": phase}}));
    let params = PatchParams::default();
    pods.patch_status("csr-warden-doctor", &params, &status)
        .await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(stderr.is_empty(), "{stderr}");
    Ok(report)
}
