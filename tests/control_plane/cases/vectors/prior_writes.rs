//! State of requests from before csr-warden starts.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use control_plane::cluster::Cluster;
use control_plane::decision_log::Decision;
use control_plane::node_user::{NewRequest, NodeUser, condition, issued};
use testkit::cluster::KeySpec;
use testkit::forge::Recipe;
use testkit::vector::{ObjectSpec, SettledSpec};

/// A finalizer that keeps deleted requests.
pub const FINALIZER: &str = "example.com/held";
/// An administrator's reason, which csr-warden never uses.
const BY_HAND: &str = "ByHand";

/// Approves each key for its node, in this order.
pub async fn approve_keys(cluster: &Cluster, keys: &[KeySpec]) -> Result<()> {
    for (index, key) in keys.iter().enumerate() {
        let mut recipe = Recipe::genuine(&key.node, &[&key.node], &["10.0.0.1".parse()?]);
        recipe.key_seed = Some(key.seed.clone());
        // The daemon learns them from a list, which is sorted by name.
        let name = format!("known-{index}");
        let user = NodeUser::new(cluster, &key.node).await?;
        user.post(&NewRequest::new(&name, recipe.pem())).await?;
        write(&cluster.admin(), &name, "Approved").await?;
        issued(&cluster.admin(), &name).await?;
    }
    Ok(())
}

/// Returns true if the signer must be stopped, because it would proceed.
pub fn needs_no_signer(object: &ObjectSpec) -> bool {
    matches!(object.settled, Some(SettledSpec::Approved))
}

/// Sets the conditions and the deletion that the vector has.
pub async fn settle(admin: &Client, name: &str, object: &ObjectSpec) -> Result<()> {
    match object.settled {
        None => {}
        Some(SettledSpec::Approved) => write(admin, name, "Approved").await?,
        Some(SettledSpec::Issued) => {
            write(admin, name, "Approved").await?;
            issued(admin, name).await?;
        }
        Some(SettledSpec::Denied) => write(admin, name, "Denied").await?,
        Some(SettledSpec::Failed) => write(admin, name, "Failed").await?,
    }
    if object.terminating {
        let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
        api.delete(name, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn write(admin: &Client, name: &str, kind: &str) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let mut request = api.get(name).await?;
    let condition: CertificateSigningRequestCondition = serde_json::from_value(json!({
        "type": kind, "status": "True", "reason": BY_HAND,
    }))?;
    request.status.get_or_insert_default().conditions = Some(vec![condition]);
    // Only a signer may write Failed.
    let part = if kind == "Failed" {
        "status"
    } else {
        "approval"
    };
    api.replace_subresource(part, name, &PostParams::default(), &request)
        .await
        .with_context(|| format!("{kind} into {name}"))?;
    Ok(())
}

/// Checks that csr-warden has logged and written nothing.
pub fn is_left_alone(request: &CertificateSigningRequest, said: &[Decision]) -> Result<()> {
    let status = request.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let by_hand = |condition: &CertificateSigningRequestCondition| {
        condition.reason.as_deref() == Some(BY_HAND)
    };
    ensure!(said.is_empty(), "csr-warden has said {said:?}");
    ensure!(
        conditions.len() <= 1 && conditions.iter().all(by_hand),
        "conditions {conditions:?}"
    );
    ensure!(
        condition(request, "Approved").is_some() || status.certificate.is_none(),
        "it has a certificate"
    );
    Ok(())
}

/// Removes the finalizer from all deleted requests.
pub async fn release(admin: &Client) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    for request in api.list(&ListParams::default()).await?.items {
        if request.metadata.deletion_timestamp.is_some() {
            let name = request.metadata.name.context("name")?;
            api.patch(&name, &PatchParams::default(), &free).await?;
        }
    }
    Ok(())
}
