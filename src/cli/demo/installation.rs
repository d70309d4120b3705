//! ServiceAccount of an installed csr-warden, with exactly the permissions that `deploy/base`
//! grants.

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::AuthInfo;
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, Config};
use serde_json::json;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "csr-warden";
const MANIFESTS: [&str; 4] = [
    include_str!("../../../deploy/base/service-account.yaml"),
    include_str!("../../../deploy/base/cluster-role.yaml"),
    include_str!("../../../deploy/base/roles.yaml"),
    include_str!("../../../deploy/base/lease.yaml"),
];

/// Applies the manifests, and returns a client configuration with the ServiceAccount's token.
pub(super) async fn install(admin: &Config) -> Result<Config> {
    let client = Client::try_from(admin.clone())?;
    for manifest in MANIFESTS {
        let objects: Vec<DynamicObject> =
            serde_saphyr::from_multiple(manifest).context("a manifest of deploy/base")?;
        for object in objects {
            create(&client, &object).await?;
        }
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client, NAMESPACE);
    let issued = accounts
        .create_token_request(NAME, &PostParams::default(), &TokenRequest::default())
        .await
        .context("cannot get a token for the ServiceAccount")?;
    let token = issued
        .status
        .context("a token request without an answer")?
        .token;
    let auth_info: AuthInfo = serde_json::from_value(json!({"token": token}))?;
    let mut config = admin.clone();
    config.auth_info = auth_info;
    Ok(config)
}

async fn create(client: &Client, object: &DynamicObject) -> Result<()> {
    let kind = object.types.as_ref().context("an object without a kind")?;
    let kind = GroupVersionKind::try_from(kind)?;
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let made = api.create(&PostParams::default(), object).await;
    made.with_context(|| format!("cannot create a {}", kind.kind))?;
    Ok(())
}
