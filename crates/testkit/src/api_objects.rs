//! API objects for the content of a vector.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{MachineSpec, NodeSpec, ProtectedKind, ProtectedSpec, before_now};
use crate::now;
use crate::policies::MACHINE_GROUP;
use crate::vector::{SettledSpec, Vector, request_pem};

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A Node. A terminating Node has been so since `deleted`.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub fn node(node: &NodeSpec, created: Timestamp, deleted: Timestamp) -> Value {
    let mut metadata = json!({
        "name": node.name,
        "uid": format!("{}-{}", node.name, created.as_second()),
        "creationTimestamp": date(created),
    });
    let (mut spec, mut conditions) = (json!({}), json!([]));
    if node.control_plane {
        metadata["labels"] = json!({"node-role.kubernetes.io/control-plane": ""});
    }
    if node.terminating {
        metadata["deletionTimestamp"] = json!(date(deleted));
        metadata["finalizers"] = json!(["example.com/held"]);
    }
    if node.uninitialized {
        spec["taints"] = json!([{
            "key": "node.cloudprovider.kubernetes.io/uninitialized",
            "value": "true",
            "effect": "NoSchedule",
        }]);
    }
    if let Some(first) = node.pod_cidrs.first() {
        spec["podCIDR"] = json!(first);
        spec["podCIDRs"] = json!(node.pod_cidrs);
    }
    if let Some(id) = &node.provider_id {
        spec["providerID"] = json!(id);
    }
    if node.lost {
        conditions = json!([{"type": "Ready", "status": "Unknown"}]);
    }
    let addresses: Vec<Value> = node
        .addresses
        .iter()
        .flatten()
        .map(|(kind, address)| json!({"type": kind, "address": address}))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": spec,
        "status": {"addresses": addresses, "conditions": conditions},
    })
}

/// The CertificateSigningRequest.
pub fn request(vector: &Vector) -> Value {
    let (object, requestor) = (&vector.object, &vector.requestor);
    let mut metadata = json!({
        "name": object.name,
        "uid": "uid-of-csr-1",
        "resourceVersion": "1",
        "creationTimestamp": date(before_now(object.age)),
    });
    if object.terminating {
        metadata["deletionTimestamp"] = json!(date(now()));
    }
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
    let status = match object.settled {
        None => json!({}),
        Some(SettledSpec::Approved) => condition("Approved"),
        Some(SettledSpec::Denied) => condition("Denied"),
        Some(SettledSpec::Failed) => condition("Failed"),
        Some(SettledSpec::Issued) => json!({"certificate": "aXNzdWVk"}),
    };
    let encoded = BASE64_STANDARD.encode(request_pem(&vector.request));
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": metadata,
        "spec": {
            "username": requestor.username,
            "uid": requestor.uid,
            "groups": requestor.groups,
            "extra": {"authentication.kubernetes.io/credential-id": requestor.credential_ids},
            "request": encoded,
            "signerName": object.signer,
            "usages": object.usages,
            "expirationSeconds": object.expiration_seconds,
        },
        "status": status,
    })
}

/// The objects that protect the Services and endpoints of these identities.
pub fn protected_objects(parts: &[ProtectedSpec]) -> Vec<Value> {
    let of = |kind: ProtectedKind| {
        let parts = parts.iter().filter(move |part| part.kind == kind);
        parts.flat_map(|part| part.sans.clone()).collect::<Vec<_>>()
    };
    let networks: Vec<_> = parts
        .iter()
        .flat_map(|part| part.networks.clone())
        .collect();
    let metadata = json!({
        "name": "kubernetes", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "kubernetes"},
    });
    vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": networks},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIPs": of(ProtectedKind::Service)},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "addressType": "IPv4", "metadata": metadata,
            "endpoints": [{"addresses": of(ProtectedKind::ApiServerEndpoint)}],
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }),
    ]
}

/// A Machine of [`MACHINE_GROUP`].
pub fn machine(spec: &MachineSpec) -> Value {
    let mut metadata = json!({
        "name": spec.name,
        "namespace": "test",
        "creationTimestamp": date(before_now(spec.age)),
    });
    if spec.terminating {
        metadata["deletionTimestamp"] = json!(date(now()));
    }
    let kind = match (spec.by_provider_id, spec.checks_provider_id) {
        (true, _) => "Instance",
        (false, true) => "Machine",
        (false, false) => "Server",
    };
    json!({
        "apiVersion": format!("{MACHINE_GROUP}/v1"),
        "kind": kind,
        "metadata": metadata,
        "spec": {"providerID": spec.provider_id},
        "status": {"nodeRef": {"name": spec.node}, "addresses": spec.addresses},
    })
}
