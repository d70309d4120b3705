//! The cluster of a vector: Nodes, protected identities, keys, Machines, answers and sources.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use judge::csr::names::{NodeName, San};
use judge::csr::{Fingerprint, FirstSeen};
use judge::evidence::{
    Answer, Fact, IdentityKind, Machine, Node, NodeAddress, NodeReference, Protection,
    ServedCertificate, ServingCertificate,
};
use judge::finding::Question;
use serde::Deserialize;

use super::now;
use crate::forge::Recipe;

/// A Node; by default old enough for every policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeSpec {
    pub name: String,
    /// By default one that follows from the name.
    pub uid: Option<String>,
    /// Time since the running watch reported it; by default a list contained it. A Node can be reported
    /// several times.
    pub watched: Option<SignedDuration>,
    /// `status.addresses`, each as `{<type>: <address>}`. By default those of the default request.
    pub addresses: Vec<BTreeMap<String, String>>,
    /// Time since it was created.
    pub age: SignedDuration,
    /// The first watch event with it.
    pub first_seen: Option<FirstSeenSpec>,
    /// Time since its addresses changed; by default its age.
    pub stable: Option<SignedDuration>,
    pub terminating: bool,
    pub lost: bool,
    pub control_plane: bool,
    pub uninitialized: bool,
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNet>,
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
}

impl Default for NodeSpec {
    fn default() -> Self {
        let address = |kind: &str, value: &str| BTreeMap::from([(kind.into(), value.into())]);
        NodeSpec {
            name: "node-1".into(),
            uid: None,
            watched: None,
            addresses: vec![
                address("Hostname", "node-1"),
                address("InternalIP", "10.0.0.1"),
            ],
            age: SignedDuration::from_hours(1),
            first_seen: None,
            stable: None,
            terminating: false,
            lost: false,
            control_plane: false,
            uninitialized: false,
            pod_cidrs: Vec::new(),
            provider_id: None,
        }
    }
}

impl NodeSpec {
    pub fn node(&self) -> Node {
        let addresses = self.addresses.iter().flatten();
        Node {
            name: NodeName::parse(&self.name).unwrap_or_else(|| panic!("`{}`", self.name)),
            uid: match &self.uid {
                Some(uid) => uid.as_str().into(),
                None => format!("uid-of-{}", self.name).into(),
            },
            created: before_now(self.age),
            first_seen: self.first_seen.map(FirstSeenSpec::event),
            terminating: self.terminating,
            lost: self.lost,
            control_plane: self.control_plane,
            uninitialized: self.uninitialized,
            // Addresses that are not valid SANs are left out, as in the watch.
            addresses: addresses
                .filter_map(|(kind, value)| NodeAddress::parse(kind, value))
                .collect(),
            addresses_since: before_now(self.stable.unwrap_or(self.age)),
            pod_cidrs: self.pod_cidrs.clone(),
            provider_id: self.provider_id.as_deref().map(Into::into),
        }
    }
}

/// The first watch event with an object.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSeenSpec {
    /// Time since it arrived.
    pub ago: SignedDuration,
    /// The object's resourceVersion in the event.
    pub version: u64,
    /// True if the object came from a list, not from the running watch.
    #[serde(default)]
    pub listed: bool,
}

impl FirstSeenSpec {
    pub fn event(self) -> FirstSeen {
        let version = self.version.to_string();
        FirstSeen::new(before_now(self.ago), &version, !self.listed).unwrap()
    }
}

/// The identities that one origin protects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtectedSpec {
    pub origin: String,
    pub kind: ProtectedKind,
    pub sans: Vec<String>,
    pub networks: Vec<IpNet>,
    /// Time since the origin was removed; `None` while it exists.
    pub until: Option<SignedDuration>,
    /// The certificate that holds them.
    pub certificate: Option<ServedCertificateSpec>,
}

impl ProtectedSpec {
    pub(super) fn protection(&self) -> Protection {
        let san = |text: &String| San::from_host_text(text).unwrap_or_else(|| panic!("`{text}`"));
        Protection {
            origin: self.origin.clone(),
            kind: match self.kind {
                ProtectedKind::Service => IdentityKind::Service,
                ProtectedKind::ApiServerEndpoint => IdentityKind::ApiServerEndpoint,
                ProtectedKind::ApiServerIdentity => IdentityKind::ApiServerIdentity,
            },
            sans: self.sans.iter().map(san).collect(),
            networks: self.networks.clone(),
            certificate: self
                .certificate
                .as_ref()
                .map(ServedCertificateSpec::certificate),
        }
    }
}

/// The certificate that an API server serves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedCertificateSpec {
    /// The name or address at which it was read; by default it was read from a file.
    #[serde(default)]
    pub host: Option<String>,
    /// Certificates with the same text are the same.
    pub der: String,
}

impl ServedCertificateSpec {
    fn certificate(&self) -> ServedCertificate {
        let san = |text: &String| San::from_host_text(text).unwrap_or_else(|| panic!("`{text}`"));
        ServedCertificate {
            host: self.host.as_ref().map(san),
            sha256: Fingerprint::of(self.der.as_bytes()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProtectedKind {
    #[default]
    Service,
    ApiServerEndpoint,
    ApiServerIdentity,
}

/// A key that was approved for a node earlier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    pub node: String,
    pub seed: String,
}

impl KeySpec {
    /// The fingerprint of the key's SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> Fingerprint {
        let recipe = Recipe {
            key_seed: Some(self.seed.clone()),
            ..Recipe::default()
        };
        Fingerprint::of(&recipe.signing_key().spki(false).tlv())
    }

    pub(super) fn fact(&self) -> Fact {
        Fact::Key(self.fingerprint(), NodeName::parse(&self.node).unwrap())
    }
}

/// A Machine; by default the one of the default Node.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MachineSpec {
    pub name: String,
    /// The Node that it refers to.
    pub node: Option<String>,
    /// Its kind.
    pub kind: String,
    /// True if it refers to its Node by provider ID, not by name.
    pub by_provider_id: bool,
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
    /// False if the policy has no path for its provider ID.
    pub checks_provider_id: bool,
    pub addresses: Vec<String>,
    pub age: SignedDuration,
    pub terminating: bool,
}

impl Default for MachineSpec {
    fn default() -> Self {
        MachineSpec {
            name: "machine-1".into(),
            node: Some("node-1".into()),
            kind: "Machine".into(),
            by_provider_id: false,
            provider_id: Some("test://1".into()),
            checks_provider_id: true,
            addresses: vec!["node-1".into(), "10.0.0.1".into()],
            age: SignedDuration::from_hours(1),
            terminating: false,
        }
    }
}

impl MachineSpec {
    pub fn machine(&self) -> Machine {
        let node = |name: &String| NodeName::parse(name).unwrap_or_else(|| panic!("`{name}`"));
        let san =
            |text: &String| Machine::parse_address(text).unwrap_or_else(|| panic!("`{text}`"));
        let provider_id = self
            .provider_id
            .as_deref()
            .filter(|_| self.checks_provider_id);
        Machine {
            key: format!("{} test/{}", self.kind, self.name).into(),
            node: if self.by_provider_id {
                NodeReference::ProviderId
            } else {
                NodeReference::Name(self.node.as_ref().map(node))
            },
            provider_id: provider_id.map(Into::into),
            checks_provider_id: self.checks_provider_id,
            addresses: self.addresses.iter().map(san).collect(),
            created: before_now(self.age),
            terminating: self.terminating,
        }
    }
}

/// A serving certificate of the cluster's CA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    pub node: String,
    /// Time since it was issued.
    #[serde(default = "an_hour")]
    pub age: SignedDuration,
    pub sans: Vec<String>,
}

impl CertificateSpec {
    pub fn certificate(&self) -> Box<ServingCertificate> {
        let san = |text: &String| San::from_host_text(text).unwrap_or_else(|| panic!("`{text}`"));
        Box::new(ServingCertificate {
            node: NodeName::parse(&self.node).unwrap_or_else(|| panic!("`{}`", self.node)),
            issued: before_now(self.age),
            sans: self.sans.iter().map(san).collect(),
        })
    }
}

fn an_hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

/// The answer to a question, in exactly one of four forms.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AnswerSpec {
    pub to: QuestionSpec,
    pub sans: Option<Vec<String>>,
    pub empty: Option<String>,
    pub certificate: Option<CertificateSpec>,
    pub failed: Option<String>,
    /// Time until it expires.
    #[serde(default = "a_minute")]
    pub holds: SignedDuration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QuestionSpec {
    Addresses(String),
    Names(IpAddr),
    Certificate(IpAddr),
}

fn a_minute() -> SignedDuration {
    SignedDuration::from_mins(1)
}

impl AnswerSpec {
    pub fn fact(&self) -> Fact {
        let question = match &self.to {
            QuestionSpec::Addresses(name) => Question::Addresses(name.as_str().into()),
            QuestionSpec::Names(ip) => Question::Names(*ip),
            QuestionSpec::Certificate(ip) => Question::Certificate(*ip),
        };
        let san = |text: &String| San::from_host_text(text).unwrap_or_else(|| panic!("`{text}`"));
        let forms = [
            self.sans
                .as_ref()
                .map(|sans| Answer::Sans(sans.iter().map(san).collect())),
            self.empty.clone().map(Answer::Empty),
            self.certificate
                .as_ref()
                .map(|certificate| Answer::Certificate(certificate.certificate())),
            self.failed.clone().map(Answer::Failed),
        ];
        let mut forms = forms.into_iter().flatten();
        let answer = forms
            .next()
            .unwrap_or_else(|| panic!("{question}: no answer"));
        assert!(forms.next().is_none(), "{question}: more than one answer");
        Fact::Answer(question, answer, now().checked_add(self.holds).unwrap())
    }
}

/// The state of a source that is not ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSpec {
    /// True if it has synced.
    pub synced: bool,
    /// Time since it began to fail.
    pub failing: Option<SignedDuration>,
}

impl Default for SourceSpec {
    fn default() -> Self {
        SourceSpec {
            synced: true,
            failing: None,
        }
    }
}

/// The protected identities of a kubeadm cluster with a virtual IP for its API server.
pub fn kubeadm() -> Vec<ProtectedSpec> {
    let part = |origin: &str, kind, sans: &[&str], networks: &[&str]| ProtectedSpec {
        origin: origin.into(),
        kind,
        sans: sans.iter().map(|san| (*san).to_owned()).collect(),
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        until: None,
        certificate: None,
    };
    let certificate = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "cp-1",
        "api.cluster.example",
        "10.96.0.1",
        "10.0.0.100",
        "10.0.0.200",
    ];
    vec![
        part(
            "Service default/kubernetes",
            ProtectedKind::Service,
            &["10.96.0.1"],
            &[],
        ),
        part(
            "ServiceCIDR kubernetes",
            ProtectedKind::Service,
            &[],
            &["10.96.0.0/12"],
        ),
        part(
            "EndpointSlice default/kubernetes",
            ProtectedKind::ApiServerEndpoint,
            &["10.0.0.100"],
            &[],
        ),
        ProtectedSpec {
            certificate: Some(ServedCertificateSpec {
                host: Some("10.0.0.100".into()),
                der: "cp-1".into(),
            }),
            ..part(
                "certificate of https://10.0.0.100:6443",
                ProtectedKind::ApiServerIdentity,
                &certificate,
                &[],
            )
        },
        part(
            "ConfigMap kube-public/cluster-info",
            ProtectedKind::ApiServerIdentity,
            &["api.cluster.example", "10.0.0.200"],
            &[],
        ),
    ]
}

/// The time of this age at [`now`].
pub fn before_now(age: SignedDuration) -> Timestamp {
    now().checked_sub(age).unwrap()
}
