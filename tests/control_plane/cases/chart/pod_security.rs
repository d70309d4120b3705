//! Pod Security Standards, by the admission plugin of a real API server.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::hook;
use super::variants::VARIANTS;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{Objects, objects};

/// Violations of `restricted` by a Pod on the network of its node.
const VIOLATIONS: [&str; 2] = ["host namespaces (hostNetwork=true)", "hostPort"];

async fn namespace(cluster: &Cluster, level: &str) -> Result<()> {
    let labels = json!({
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/warn": level,
    });
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": level, "labels": labels}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
               "metadata": {"name": "csr-warden", "namespace": level}}),
    ] {
        cluster.apply(&object.to_string()).await?;
    }
    Ok(())
}

fn deployment(objects: &Objects) -> Result<&Value> {
    let mut deployments = objects
        .iter()
        .filter(|(key, _)| key.starts_with("Deployment "));
    Ok(deployments.next().context("no Deployment")?.1)
}

/// Creates these objects in the namespace of a level, without keeping them. Returns the success, and
/// the errors and warnings.
async fn answer(cluster: &Cluster, level: &str, objects: &[Value]) -> Result<(bool, String)> {
    let mut items = objects.to_vec();
    for (index, item) in items.iter_mut().enumerate() {
        item["metadata"]["namespace"] = json!(level);
        item["metadata"]["name"] = json!(format!("csr-warden-{index}"));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let create = ["create", "--dry-run=server", "-f", "-"];
    let output = cluster.kubectl_output(&create, &list).await?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), stderr))
}

/// `restricted` accepts the Pods of all variants but `bootstrap`, and that of `helm test`.
pub async fn is_restricted(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    for level in ["restricted", "privileged"] {
        namespace(&cluster, level).await?;
    }
    let mut restricted = vec![hook(&assets, &[])?];
    for variant in VARIANTS.iter().filter(|one| one.is_installation()) {
        let objects = objects(&variant.charted(&assets)?)?;
        let deployment = deployment(&objects)?;
        let template = &deployment["spec"]["template"];
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": template["metadata"]["labels"]},
            "spec": template["spec"],
        });
        if !variant.is_privileged() {
            restricted.extend([pod, deployment.clone()]);
            continue;
        }
        let name = variant.name();
        let (accepted, said) = answer(&cluster, "restricted", std::slice::from_ref(&pod)).await?;
        let rejected = !accepted && VIOLATIONS.iter().all(|one| said.contains(one));
        ensure!(rejected, "{name}: {said}");
        // A Deployment is warned about, not rejected.
        let (accepted, said) =
            answer(&cluster, "restricted", std::slice::from_ref(deployment)).await?;
        let warned = said.contains("would violate PodSecurity \"restricted:latest\"");
        ensure!(accepted && warned, "{name}: {said}");
        let accepted = answer(&cluster, "privileged", &[pod, deployment.clone()]).await?;
        ensure!(accepted == (true, String::new()), "{name}: {accepted:?}");
    }
    let accepted = answer(&cluster, "restricted", &restricted).await?;
    ensure!(accepted == (true, String::new()), "{accepted:?}");
    Ok(())
}
