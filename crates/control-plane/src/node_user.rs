//! A node user (`system:node:NAME`) that writes its Node and its requests directly, with the rights
//! of a kubelet.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::POLL_INTERVAL;
use super::cluster::Cluster;

/// The deadline for everything that the control plane and csr-warden do at once.
const SOON: Duration = Duration::from_secs(30);

/// A user `system:node:NAME` with a client certificate.
pub struct NodeUser {
    /// The node's name.
    pub name: String,
    client: Client,
}

/// A request to be created.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// `metadata`.
    pub metadata: Value,
    /// `spec.request`.
    pub pem: String,
    /// `spec.signerName`.
    pub signer: String,
    /// `spec.usages`.
    pub usages: Vec<String>,
    /// `spec.expirationSeconds`.
    pub expires: Option<i32>,
}

impl NewRequest {
    /// Creates a request as a kubelet does.
    pub fn new(name: &str, pem: String) -> Self {
        Self {
            metadata: json!({"name": name}),
            pem,
            signer: "kubernetes.io/kubelet-serving".into(),
            usages: vec!["digital signature".into(), "server auth".into()],
            expires: None,
        }
    }

    /// Posts the request.
    pub async fn post(&self, client: &Client) -> kube::Result<CertificateSigningRequest> {
        let request = serde_json::from_value(json!({
            "metadata": self.metadata,
            "spec": {
                "request": ByteString(self.pem.clone().into_bytes()),
                "signerName": self.signer,
                "usages": self.usages,
                "expirationSeconds": self.expires,
            },
        }))
        .map_err(kube::Error::SerdeError)?;
        Api::all(client.clone())
            .create(&PostParams::default(), &request)
            .await
    }
}

impl NodeUser {
    /// Creates the credential. The Node does not exist yet.
    pub async fn new(cluster: &Cluster, name: &str) -> Result<Self> {
        let user = format!("system:node:{name}");
        Ok(Self {
            name: name.to_owned(),
            client: cluster.client_for(&user, &["system:nodes"]).await?,
        })
    }

    /// Returns a client with this credential.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Creates the Node as a kubelet does. Returns its creation time.
    pub async fn register(&self) -> Result<Timestamp> {
        let node = serde_json::from_value(json!({"metadata": {"name": self.name}}))?;
        let node = self.nodes().create(&PostParams::default(), &node).await?;
        Ok(node.metadata.creation_timestamp.context("creation")?.0)
    }

    /// Replaces all addresses in the Node's status, see [`report`].
    pub async fn report(&self, addresses: &[impl AsRef<str>]) -> Result<()> {
        report(&self.client, &self.name, addresses).await
    }

    /// Posts a request, which the API server must accept.
    pub async fn post(&self, ask: &NewRequest) -> Result<CertificateSigningRequest> {
        ask.post(&self.client)
            .await
            .with_context(|| format!("request {} of {}", ask.metadata, self.name))
    }
}

/// Replaces all addresses in a Node's status. Each has the form `InternalIP 10.0.0.1`.
pub async fn report(client: &Client, node: &str, addresses: &[impl AsRef<str>]) -> Result<()> {
    let entry = |text: &str| {
        let (kind, address) = text.split_once(' ').context("`TYPE ADDRESS`")?;
        anyhow::Ok(json!({"type": kind, "address": address}))
    };
    let list = addresses.iter().map(|text| entry(text.as_ref()));
    let list: Vec<Value> = list.collect::<Result<_>>()?;
    // With the kubelet's port, as a kubelet reports both.
    let port = json!({"kubeletEndpoint": {"Port": 10250}});
    let patch = Patch::Merge(json!({"status": {"addresses": list, "daemonEndpoints": port}}));
    Api::<Node>::all(client.clone())
        .patch_status(node, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("status of {node}"))?;
    Ok(())
}

/// Waits until new objects get a later creation time than this one, to the second.
///
/// An object that is created afterwards is younger for every reader.
pub async fn wait_until_later_than(admin: &Client, time: Timestamp) -> Result<()> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let clock = serde_json::from_value(json!({"metadata": {"name": "clock"}}))?;
    let nodes: Api<Node> = Api::all(admin.clone());
    loop {
        let shown = nodes.create(&dry_run, &clock).await?;
        if shown.metadata.creation_timestamp.context("creation")?.0 > time {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the condition of this type.
pub fn condition<'a>(
    request: &'a CertificateSigningRequest,
    condition_type: &str,
) -> Option<&'a k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == condition_type)
}

/// Returns true if the request has no condition.
pub fn has_no_conditions(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().is_none_or(|status| {
        status.certificate.is_none() && status.conditions.as_ref().is_none_or(Vec::is_empty)
    })
}

/// Waits until the request has a condition of this type. Any other condition is an error.
pub async fn settled(
    admin: &Client,
    name: &str,
    condition_type: &str,
) -> Result<CertificateSigningRequest> {
    let is_settled = |request: &CertificateSigningRequest| {
        let conditions = request.status.as_ref().and_then(|s| s.conditions.clone());
        conditions.is_some_and(|conditions| !conditions.is_empty())
    };
    let request = awaited(admin, name, is_settled).await?;
    let found = condition(&request, condition_type);
    ensure!(
        found.is_some(),
        "{name}: expected {condition_type}: {:?}",
        request.status
    );
    Ok(request)
}

/// Waits until the request has a certificate, and returns its PEM.
pub async fn issued(admin: &Client, name: &str) -> Result<Vec<u8>> {
    let certificate = |request: &CertificateSigningRequest| {
        request.status.as_ref().and_then(|s| s.certificate.clone())
    };
    let request = awaited(admin, name, |request| certificate(request).is_some()).await?;
    Ok(certificate(&request).context("certificate")?.0)
}

async fn awaited(
    admin: &Client,
    name: &str,
    arrived: impl Fn(&CertificateSigningRequest) -> bool,
) -> Result<CertificateSigningRequest> {
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let begun = std::time::Instant::now();
    loop {
        let request = api.get(name).await?;
        if arrived(&request) {
            return Ok(request);
        }
        if begun.elapsed() > SOON {
            bail!("{name} after {SOON:?}: {:?}", request.status);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
