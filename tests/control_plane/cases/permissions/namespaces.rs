//! Tools that set one namespace for all objects: kustomize, Flux and Argo CD. With
//! `rbac.clusterWide` csr-warden has its permissions in each.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{END, PermissionTest, SOON};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::manifests::{Kustomization, ROOT, chart, kustomize, objects};

const VARIANT: &str = "deploy/variants/cluster-wide";

/// Kinds without a namespace.
fn is_cluster_scoped(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    kind.starts_with("Cluster") || kind == "Namespace"
}

/// A kustomization next to the variant, with a `namespace`.
fn by_kustomize(assets: &Assets, resources: &str) -> Result<String> {
    let text = format!("namespace: by-kustomize\nresources: [{resources}]\n");
    kustomize(assets, Kustomization::new(&text)?.path())
}

/// Flux writes `targetNamespace` as `namespace` into the kustomization that it finds.
fn by_flux(assets: &Assets) -> Result<String> {
    let home = Kustomization::new("")?;
    let folder = home.path().join(VARIANT);
    let file = folder.join("kustomization.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{text}namespace: by-flux\n"))?;
    kustomize(assets, &folder)
}

/// Argo CD renders the chart for the namespace of its destination, and sets it on all objects.
fn by_argo_cd(assets: &Assets) -> Result<String> {
    let rendered = chart(
        assets,
        &["--namespace=by-argo-cd", "--set=rbac.clusterWide=true"],
    )?;
    let mut items = Vec::new();
    for mut object in objects(&rendered)?.into_values() {
        if !is_cluster_scoped(&object) {
            object["metadata"]["namespace"] = json!("by-argo-cd");
        }
        items.push(object);
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

/// Without `rbac.clusterWide` such a tool moves the Roles, so that rights are missing.
fn roles_of_the_base_are_moved(assets: &Assets) -> Result<()> {
    let moved = objects(&by_kustomize(assets, "deploy/base")?)?;
    for role in ["csr-warden-api-server", "csr-warden-cluster-info"] {
        let key = format!("Role by-kustomize/{role}");
        ensure!(moved.contains_key(&key), "{:?}", moved.keys());
    }
    Ok(())
}

pub async fn are_kept(assets: Arc<Assets>) -> Result<()> {
    roles_of_the_base_are_moved(&assets)?;
    let test = PermissionTest::start(&assets).await?;
    let base = Path::new(ROOT).join("deploy/base");
    let base = base.to_str().context("a path that is no text")?;
    // Its Roles would grant what the others lack.
    test.cluster.kubectl(&["delete", "-k", base]).await?;
    for (namespace, rendered) in [
        ("by-kustomize", by_kustomize(&assets, VARIANT)?),
        ("by-flux", by_flux(&assets)?),
        ("by-argo-cd", by_argo_cd(&assets)?),
    ] {
        test.cluster
            .kubectl(&["create", "namespace", namespace])
            .await?;
        test.cluster.apply(&rendered).await?;
        is_enough(&test, namespace).await.context(namespace)?;
    }
    Ok(())
}

/// A daemon with the ServiceAccount of this namespace leads, denies and reports, and nothing is
/// forbidden.
async fn is_enough(test: &PermissionTest, namespace: &str) -> Result<()> {
    let token = test.cluster.token(namespace, "csr-warden").await?;
    let installation = test.installation.with_token(&test.cluster, &token)?;
    let lease = format!("--lease-namespace={namespace}");
    let mut daemon = installation.start(namespace, &[&lease])?;
    daemon.wait_ready(SOON).await?;
    let begun = Instant::now();
    while !daemon.is_leader().await? {
        ensure!(begun.elapsed() < SOON, "no leader");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let forged = test.forge().await?;
    test.wait_denied(&forged).await?;
    test.wait_reported(&forged, 1).await?;
    daemon.sigterm(END).await?;
    for word in ["forbidden", "permission", "WARN", "ERROR"] {
        let lines = daemon.stderr().containing(word);
        ensure!(lines.is_empty(), "{lines:#?}");
    }
    Ok(())
}
