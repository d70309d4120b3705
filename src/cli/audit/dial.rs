//! Serving certificates that kubelets present now, from one TLS handshake with each.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;

use super::{Item, Subject};
use crate::cli::live::{Issued, Look};
use crate::sources::certificate_probe::{CertificateProbe, Trust};
use judge::csr::Requestor;
use judge::csr::names::San;
use judge::csr::{
    CsrObject, KUBELET_SERVING_SIGNER, NODE_USER_PREFIX, NODES_GROUP, PreservedMetadata, Request,
};
use judge::evidence::{Node, reserved_kind};

/// Time limit for one handshake.
const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum number of concurrent handshakes.
const AT_ONCE: usize = 32;

/// Dials the kubelet of every Node. A failure becomes the note of that node's item.
pub(super) async fn dial(look: &Look, authorities: &[Vec<u8>]) -> Vec<Subject> {
    let ports = CertificateProbe::new(authorities.iter().map(Vec::as_slice), DEADLINE);
    let nodes = look.evidence.nodes().iter();
    let dialed = nodes.map(|node| {
        let ports = &ports;
        async move {
            let at = address(node).and_then(|ip| {
                let port = look.kubelet_ports.get(&node.name).copied();
                // Every kubelet publishes its port, except simulated ones that do not listen.
                let port = port.ok_or("not dialed: its Node has no port of a kubelet")?;
                Ok(SocketAddr::new(ip, port))
            });
            match (at, ports) {
                (Err(why), _) => note(node, None, why),
                (Ok(at), Err(why)) => note(node, Some(at), why.to_string()),
                (Ok(at), Ok(ports)) => match ports.probe(at).await {
                    Err(why) => note(node, Some(at), why.to_string()),
                    Ok(chain) => {
                        let issued = Issued::of(&chain.end_entity);
                        let mut subject = match ports.signed_by(&chain, look.now) {
                            Trust::ClusterCa => of_certificate(look, node, at, &chain.end_entity),
                            Trust::Other(why) => {
                                let why = format!("not signed by the cluster's CA: {why}");
                                note(node, Some(at), why)
                            }
                        };
                        subject.item.certificate = issued;
                        subject
                    }
                },
            }
        }
    });
    let dialed = futures::stream::iter(dialed.collect::<Vec<_>>());
    dialed.buffer_unordered(AT_ONCE).collect().await
}

/// First IP address of the Node that can be dialed; the error is the reason for none. Reserved
/// addresses are rejected: an attacker could use them to reach this machine or a metadata service.
fn address(node: &Node) -> Result<IpAddr, String> {
    let mut why = "its Node has no IP address".to_owned();
    for address in &node.addresses {
        let San::Ip(ip) = address.san else { continue };
        match reserved_kind(ip) {
            None => return Ok(ip),
            Some(what) => why = format!("not dialed: {ip} is {what}"),
        }
    }
    Err(why)
}

fn item(node: &Node, at: Option<SocketAddr>) -> Item {
    Item {
        node: node.name.to_string(),
        request: None,
        address: at.map(|at| at.to_string()),
        verdict: None,
        note: None,
        findings: Vec::new(),
        approved: None,
        created: None,
        certificate: None,
    }
}

fn note(node: &Node, at: Option<SocketAddr>, why: String) -> Subject {
    Subject {
        item: Item {
            note: Some(why),
            ..item(node, at)
        },
        request: None,
    }
}

/// Subject for a presented certificate, as if this node's kubelet requested it now with a valid
/// credential.
fn of_certificate(look: &Look, node: &Node, at: SocketAddr, certificate: &[u8]) -> Subject {
    let object = CsrObject {
        name: node.name.to_string(),
        uid: "".into(),
        resource_version: String::new(),
        created: look.now,
        terminating: false,
        signer: KUBELET_SERVING_SIGNER.into(),
        requestor: Requestor {
            username: format!("{NODE_USER_PREFIX}{}", node.name).into(),
            uid: String::new(),
            groups: [NODES_GROUP, "system:authenticated"].map(Into::into).into(),
            credential_ids: vec!["X509SHA256=".to_owned()],
        },
        usages: ["digital signature", "server auth"].map(Into::into).into(),
        expiration_seconds: None,
        settled: None,
        preserved: PreservedMetadata::default(),
    };
    match Request::from_certificate(object, certificate) {
        Some(request) => Subject {
            item: item(node, Some(at)),
            request: Some(request),
        },
        None => note(node, Some(at), "its certificate cannot be read".to_owned()),
    }
}
