//! A simulated kubelet, as the API server sees it. It creates its Node, requests its serving
//! certificate and waits for it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::request::Template;
use judge::csr::KUBELET_SERVING_SIGNER;

/// The time that a kubelet waits for a certificate (`certificateWaitTimeout` in client-go's
/// `util/certificate/certificate_manager.go`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The time after which a connection without data is closed, except for a watch.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A kubelet.
#[derive(Clone, Debug)]
pub struct Kubelet {
    /// The name of its Node.
    pub name: String,
    /// Its InternalIPs.
    pub ips: Vec<IpAddr>,
    /// The address of the API server, and the client certificate.
    pub config: Config,
    /// Labels of its Node.
    pub labels: Vec<(String, String)>,
}

/// An issued serving certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The request that it was issued for.
    pub request: String,
    /// The time from the request to the certificate.
    pub after: Duration,
    /// The times of its validity: not before and not after.
    pub valid: (Timestamp, Timestamp),
}

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kubelet has a certificate.
    Served(Served),
    /// The kubelet has no certificate, for this reason.
    Unserved(String),
}

impl Kubelet {
    /// Connects with this kubelet's credential. Thousands of kubelets hold a connection only while
    /// they need one.
    pub fn connect(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.default_retry = false;
        config.read_timeout = Some(READ_TIMEOUT);
        config.write_timeout = Some(READ_TIMEOUT);
        Ok(Client::try_from(config)?)
    }

    /// Creates the Node with its addresses.
    pub async fn register(&self, client: &Client) -> Result<()> {
        register(client, &self.name, &self.ips, &self.labels).await
    }

    /// Requests a certificate once, with a new key, and waits for the outcome.
    pub async fn ask(&self, client: &Client) -> Result<Outcome> {
        let key = KeyPair::generate()?;
        let template = Template::genuine(&self.name, std::slice::from_ref(&self.name), &self.ips);
        let pem = template.pem(&key)?;
        let begun = Instant::now();
        let asked = post(client, pem, &["digital signature", "server auth"]).await?;
        let name = asked.metadata.name.context("a request without a name")?;
        let settled = await_condition(requests(client), &name, is_settled);
        let Ok(settled) = timeout(REQUEST_TIMEOUT, settled).await else {
            return Ok(Outcome::Unserved(format!("{name} is undecided after 15 m")));
        };
        let after = begun.elapsed();
        let Some(request) = settled? else {
            return Ok(Outcome::Unserved(format!("{name} was deleted")));
        };
        let status = request.status.unwrap_or_default();
        let Some(certificate) = status.certificate else {
            let conditions = status.conditions.unwrap_or_default();
            let why = conditions.first().map_or_else(String::new, |condition| {
                let reason = condition.reason.as_deref().unwrap_or_default();
                let message = condition.message.as_deref().unwrap_or_default();
                format!("{name} is {}: {reason} ({message})", condition.type_)
            });
            return Ok(Outcome::Unserved(why));
        };
        Ok(Outcome::Served(Served {
            request: name,
            after,
            valid: verified(&certificate, &key)?,
        }))
    }
}

/// Creates a Node with these InternalIPs. An existing Node is its own, from an attempt whose
/// response was lost.
pub(super) async fn register(
    client: &Client,
    name: &str,
    ips: &[IpAddr],
    labels: &[(String, String)],
) -> Result<()> {
    let mut addresses = vec![json!({"type": "Hostname", "address": name})];
    addresses.extend(
        ips.iter()
            .map(|ip| json!({"type": "InternalIP", "address": ip})),
    );
    let mut all_labels = serde_json::Map::new();
    all_labels.insert("kubernetes.io/hostname".into(), name.into());
    all_labels.insert("kubernetes.io/os".into(), "linux".into());
    for (key, value) in labels {
        all_labels.insert(key.clone(), value.as_str().into());
    }
    let now = Timestamp::now().strftime("%FT%TZ").to_string();
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": all_labels},
        "status": {
            "addresses": addresses,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "a simulated kubelet, without containers",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "nodeInfo": {
                "machineID": name, "systemUUID": name, "bootID": name,
                "kernelVersion": "none", "osImage": "simulated", "architecture": "amd64",
                "containerRuntimeVersion": "none://", "kubeletVersion": "v1.33.0",
                "kubeProxyVersion": "", "operatingSystem": "linux",
            },
        },
    }))?;
    let made = Api::all(client.clone())
        .create(&PostParams::default(), &node)
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make Node {name}")),
    }
}

/// Posts a request for a serving certificate.
pub(super) async fn post(
    client: &Client,
    pem: String,
    usages: &[&str],
) -> kube::Result<CertificateSigningRequest> {
    let request = json!({
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": KUBELET_SERVING_SIGNER,
            "usages": usages,
        },
    });
    let request = serde_json::from_value(request).map_err(kube::Error::SerdeError)?;
    requests(client)
        .create(&PostParams::default(), &request)
        .await
}

pub(super) fn requests(client: &Client) -> Api<CertificateSigningRequest> {
    Api::all(client.clone())
}

/// Returns true if the kubelet can stop waiting: the request has a certificate, was rejected, or is
/// gone.
fn is_settled(request: Option<&CertificateSigningRequest>) -> bool {
    let Some(request) = request else { return true };
    let Some(status) = &request.status else {
        return false;
    };
    let refused = |wanted: &str| matches!(wanted, "Denied" | "Failed");
    let mut conditions = status.conditions.iter().flatten();
    status.certificate.is_some() || conditions.any(|condition| refused(&condition.type_))
}

/// Returns the validity of the certificate. It is an error if it is not for this key.
fn verified(pem: &ByteString, key: &KeyPair) -> Result<(Timestamp, Timestamp)> {
    let der = CertificateDer::from_pem_slice(&pem.0).context("the certificate's PEM")?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|error| anyhow!("the certificate: {error}"))?;
    anyhow::ensure!(
        certificate.public_key().raw == key.subject_public_key_info(),
        "the certificate is for another key"
    );
    let valid = certificate.validity();
    Ok((
        Timestamp::from_second(valid.not_before.timestamp())?,
        Timestamp::from_second(valid.not_after.timestamp())?,
    ))
}
