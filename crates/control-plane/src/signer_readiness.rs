//! A readiness check of the signer. The controller-manager has none if it serves no port.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::{POLL_INTERVAL, pki};

/// Waits until a request of another signer is signed, and deletes it.
pub async fn ready(admin: &Client, deadline: Duration) -> Result<()> {
    const NAME: &str = "is-the-signer-ready";
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "request": base64_of(&pki::request("probe", &["probes"])?)?,
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["digital signature", "client auth"],
        },
    }))?;
    let mut request = api.create(&PostParams::default(), &request).await?;
    let condition: CertificateSigningRequestCondition = serde_json::from_value(json!({
        "type": "Approved", "status": "True", "reason": "HarnessStarts",
    }))?;
    request.status.get_or_insert_default().conditions = Some(vec![condition]);
    api.replace_subresource("approval", NAME, &PostParams::default(), &request)
        .await
        .context("approve")?;

    let begun = Instant::now();
    loop {
        if api
            .get(NAME)
            .await?
            .status
            .is_some_and(|s| s.certificate.is_some())
        {
            break;
        }
        if begun.elapsed() > deadline {
            bail!("nothing was signed within {deadline:?}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    api.delete(NAME, &DeleteParams::default()).await?;
    Ok(())
}

/// Encodes bytes as Kubernetes objects do, in base64.
fn base64_of(text: &str) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(k8s_openapi::ByteString(
        text.as_bytes().to_vec(),
    ))?)
}
