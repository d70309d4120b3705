//! Stolen kubelet credentials: each attacker is a real node user, with a Node of its own that it
//! writes what it likes into, and asks for a certificate that no kubelet should have.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::forge::Recipe;
use crate::forge::extension::Extension;
use crate::harness::GLANCE;
use crate::harness::cluster::Cluster;

/// How long a forgery is watched before it counts as left waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    ServiceIp,
    ApiServerName,
    AddressOfAnotherNode,
    Authority,
    ClientAuth,
    Metadata,
}

impl Forgery {
    const ALL: [Self; 6] = [
        Self::ServiceIp,
        Self::ApiServerName,
        Self::AddressOfAnotherNode,
        Self::Authority,
        Self::ClientAuth,
        Self::Metadata,
    ];

    /// Number `index`, and all over again after the last.
    pub fn number(index: usize) -> Self {
        Self::ALL
            .into_iter()
            .cycle()
            .nth(index)
            .unwrap_or(Self::ServiceIp)
    }

    fn says(self) -> &'static str {
        match self {
            Self::ServiceIp => "asks for 10.96.0.1, the IP of the Service kubernetes",
            Self::ApiServerName => "asks for Kubernetes.Default.SVC",
            Self::AddressOfAnotherNode => {
                "writes 10.128.0.2 of node-1 into its Node, and asks for it"
            }
            Self::Authority => "asks to be a certificate authority (CA:TRUE)",
            Self::ClientAuth => "asks for client auth besides server auth",
            Self::Metadata => "asks for 169.254.169.254, the cloud's metadata address",
        }
    }

    /// The addresses in its own Node's status, beside its name.
    fn claims(self, own: IpAddr) -> Vec<IpAddr> {
        match self {
            Self::AddressOfAnotherNode => vec![own, ADDRESS_OF_NODE_1],
            Self::Metadata => vec![own, METADATA],
            Self::ServiceIp | Self::ApiServerName | Self::Authority | Self::ClientAuth => vec![own],
        }
    }

    fn recipe(self, node: &str, own: IpAddr) -> Recipe {
        let genuine = |ips: &[IpAddr]| Recipe::genuine(node, &[node], ips);
        match self {
            Self::ServiceIp => genuine(&[own, SERVICE]),
            Self::ApiServerName => Recipe::genuine(node, &[node, "Kubernetes.Default.SVC"], &[own]),
            Self::AddressOfAnotherNode => genuine(&[own, ADDRESS_OF_NODE_1]),
            Self::Authority => Recipe {
                extensions: Some(vec![Extension::San, Extension::Ca(true)]),
                ..genuine(&[own])
            },
            Self::ClientAuth => genuine(&[own]),
            Self::Metadata => genuine(&[own, METADATA]),
        }
    }

    fn usages(self) -> &'static [&'static str] {
        match self {
            Self::ClientAuth => &["digital signature", "server auth", "client auth"],
            Self::ServiceIp
            | Self::ApiServerName
            | Self::AddressOfAnotherNode
            | Self::Authority
            | Self::Metadata => &["digital signature", "server auth"],
        }
    }
}

const SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));
/// What the fleet gives to its first node.
const ADDRESS_OF_NODE_1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 128, 0, 2));
const METADATA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254));

/// What became of a forgery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has the condition Denied.
    Denied {
        code: String,
        detail: String,
        after: Duration,
    },
    /// It has the condition Approved: this must not be.
    Approved,
    /// Nobody said anything; without an approval there is no certificate.
    Pending,
    /// The API server did not even take it.
    Refused(String),
}

/// One attacker.
pub struct Attacker {
    pub node: String,
    forgery: Forgery,
    own: IpAddr,
    client: Client,
}

impl Attacker {
    /// Number `index`, with the credential of the Node `rogue-INDEX+1`.
    pub async fn new(cluster: &Cluster, index: usize) -> Result<Self> {
        let node = format!("rogue-{}", index + 1);
        let user = format!("system:node:{node}");
        let (high, low) = (index / 250 % 250, index % 250 + 1);
        Ok(Self {
            client: cluster.client_for(&user, &["system:nodes"]).await?,
            forgery: Forgery::number(index),
            own: format!("10.66.{high}.{low}")
                .parse()
                .context("an address")?,
            node,
        })
    }

    /// What it does, in words.
    pub fn says(&self) -> String {
        format!("{} {}", self.node, self.forgery.says())
    }

    /// Waits until its victim is there and older than its own Node will be.
    pub async fn lie_in_wait(&self, admin: &Client) -> Result<()> {
        if self.forgery != Forgery::AddressOfAnotherNode {
            return Ok(());
        }
        let nodes: Api<Node> = Api::all(admin.clone());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && nodes.get_opt("node-1").await?.is_none() {
            tokio::time::sleep(GLANCE).await;
        }
        // Times of creation are in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        Ok(())
    }

    /// Makes its Node, posts the request and waits for what comes of it.
    pub async fn strike(&self) -> Result<Fate> {
        self.register()
            .await
            .with_context(|| format!("Node {}", self.node))?;
        let request = json!({
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": ByteString(self.forgery.recipe(&self.node, self.own).pem().into_bytes()),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": self.forgery.usages(),
            },
        });
        let request: CertificateSigningRequest = serde_json::from_value(request)?;
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let begun = Instant::now();
        let posted = match api.create(&PostParams::default(), &request).await {
            Ok(posted) => posted,
            Err(kube::Error::Api(status)) => return Ok(Fate::Refused(status.message.clone())),
            Err(error) => return Err(error.into()),
        };
        let name = posted.metadata.name.context("a request without a name")?;
        while begun.elapsed() < PATIENCE {
            let conditions = api
                .get(&name)
                .await?
                .status
                .and_then(|status| status.conditions);
            for condition in conditions.unwrap_or_default() {
                if condition.type_ == "Approved" {
                    return Ok(Fate::Approved);
                }
                if condition.type_ == "Denied" {
                    let message = condition.message.unwrap_or_default();
                    // What stands before says only which policy it was.
                    let detail = message
                        .split_once("): ")
                        .map_or(&*message, |(_, detail)| detail);
                    return Ok(Fate::Denied {
                        code: condition.reason.unwrap_or_default(),
                        detail: detail.to_owned(),
                        after: begun.elapsed(),
                    });
                }
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(Fate::Pending)
    }

    /// As a kubelet does it, with whatever addresses it wants to have.
    async fn register(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": self.node}}))?;
        nodes.create(&PostParams::default(), &node).await?;
        let mut addresses = vec![json!({"type": "Hostname", "address": self.node})];
        for ip in self.forgery.claims(self.own) {
            addresses.push(json!({"type": "InternalIP", "address": ip}));
        }
        let status = Patch::Merge(json!({"status": {"addresses": addresses}}));
        let own = PatchParams::default();
        nodes.patch_status(&self.node, &own, &status).await?;
        Ok(())
    }
}
