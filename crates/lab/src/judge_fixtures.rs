//! Evidence of a cluster of simulated kubelets, for measuring and testing the judge without a
//! cluster.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};

use super::fleet;
use judge::csr::names::{NodeName, San};
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, PreservedMetadata, Requestor};
use judge::evidence::{Evidence, Fact, IdentityKind, Node, NodeAddress, Protection, Source};

/// The address of the Service `kubernetes`.
pub const SERVICE: &str = "10.96.0.1";

/// Creates the evidence of a cluster with this many nodes. Node 1 is the youngest and the
/// requestor.
pub fn evidence(nodes: usize, now: Timestamp) -> Result<Evidence> {
    let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
    let mut evidence = Evidence::default();
    let mut apply = |fact| evidence.apply(fact, now);
    for source in Source::ALL {
        apply(Fact::Synced(source));
    }
    for index in 1..=nodes {
        let name = fleet::name(index);
        let ip = fleet::address(index).to_string();
        let pods = format!("10.{}.{}.0/24", index / 256 % 64, index % 256);
        apply(Fact::Node(Box::new(Node {
            name: NodeName::parse(&name).context("a name")?,
            uid: format!("uid-of-{name}").into(),
            created: ago(if index == 1 { 30 } else { 60 }),
            first_seen: None,
            terminating: false,
            lost: false,
            control_plane: false,
            uninitialized: false,
            addresses: [("Hostname", name.as_str()), ("InternalIP", ip.as_str())]
                .into_iter()
                .filter_map(|(kind, text)| NodeAddress::parse(kind, text))
                .collect(),
            addresses_since: ago(30),
            pod_cidrs: vec![pods.parse().context("a network")?],
            provider_id: None,
        })));
    }
    let protection = |origin: &str| Protection {
        origin: origin.to_owned(),
        kind: IdentityKind::Service,
        sans: Vec::new(),
        networks: Vec::new(),
        certificate: None,
    };
    apply(Fact::Protected(Protection {
        sans: vec![San::from_host_text(SERVICE).context("an address")?],
        ..protection("Service default/kubernetes")
    }));
    apply(Fact::Protected(Protection {
        networks: vec!["10.96.0.0/12".parse().context("a network")?],
        ..protection("ServiceCIDR kubernetes")
    }));
    Ok(evidence)
}

/// Creates the API object of a request by this node, without the PEM.
pub fn object(node: &str, usages: &[&str], now: Timestamp) -> CsrObject {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    CsrObject {
        name: "csr-x7k2p".into(),
        uid: "2f0f3c9e-6d3a-4a39-9a2c-0f6f0a1b2c3d".into(),
        resource_version: "12345".into(),
        created: now,
        terminating: false,
        signer: KUBELET_SERVING_SIGNER.into(),
        requestor: Requestor {
            username: format!("system:node:{node}").into(),
            uid: String::new(),
            groups: texts(&["system:nodes", "system:authenticated"]),
            credential_ids: vec![format!("X509SHA256={}", "3f".repeat(32))],
        },
        usages: texts(usages),
        expiration_seconds: None,
        settled: None,
        preserved: PreservedMetadata::default(),
    }
}
