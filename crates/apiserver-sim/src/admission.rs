//! Admission: `NodeRestriction`, `CertificateApproval`, `CertificateSubjectRestriction` and
//! `TaintNodesByCondition`. They reject or change requests that the user is authorized to send.

use serde_json::{Map, Value, json};

use super::authz;
use super::call::Call;
use super::object::{at, text};
use super::pkcs10::RequestError;
use super::status_error::StatusError;
use super::{csr_strategy, pkcs10};

const NODE_SIGNERS: [&str; 2] = [
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/kube-apiserver-client-kubelet",
];
/// Labels that a kubelet may set, in addition to those of its own domain.
const NODE_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "kubernetes.io/role",
];
const NODE_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Admits the creation of an object, before it is validated.
pub(super) fn create(
    call: &Call,
    name: &str,
    object: &mut Map<String, Value>,
) -> Result<(), StatusError> {
    let resource = call.path.resource;
    // The name is not known yet where it is generated or given in the object.
    let refuse = |why: &str| Err(StatusError::forbidden(resource, name, why));
    if let Some(node) = node(call) {
        match resource.plural {
            "nodes" if name != node => {
                return refuse(&format!(
                    "node {node:?} is not allowed to modify node {name:?}"
                ));
            }
            "nodes" => {
                let forbidden = forbidden_labels(&Map::new(), object);
                if !forbidden.is_empty() {
                    return refuse(&format!(
                        "node {node:?} is not allowed to set the following labels: {}",
                        forbidden.join(", ")
                    ));
                }
            }
            "leases" if call.path.namespace != "kube-node-lease" => {
                return refuse(
                    "can only access leases in the \"kube-node-lease\" system namespace",
                );
            }
            "leases" if name != node => {
                return refuse(
                    "can only access node lease with the same name as the requesting node",
                );
            }
            "certificatesigningrequests" => asks_for_itself(call, name, node, object)?,
            _ => {}
        }
    }
    match resource.plural {
        "certificatesigningrequests" => reject_masters(call, name, object),
        "nodes" => {
            not_ready(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Taints a new Node `not-ready`, so that it gets no Pods before it is ready
/// (`TaintNodesByCondition`).
fn not_ready(node: &mut Map<String, Value>) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let spec = node.entry("spec").or_insert_with(|| json!({}));
    let Value::Object(spec) = spec else { return };
    if let Value::Array(taints) = spec.entry("taints").or_insert_with(|| json!([]))
        && !taints.contains(&taint)
    {
        taints.push(taint);
    }
}

fn node(call: &Call) -> Option<&str> {
    call.user.node().filter(|_| call.shared.node_restriction)
}

fn asks_for_itself(
    call: &Call,
    name: &str,
    node: &str,
    object: &Map<String, Value>,
) -> Result<(), StatusError> {
    if !NODE_SIGNERS.contains(&text(object, &["spec", "signerName"])) {
        return Ok(());
    }
    let refuse = |why: &str| Err(StatusError::forbidden(call.path.resource, name, why));
    match pkcs10::read(&csr_strategy::encoded(object)) {
        Ok(subject) if subject.common_name == format!("system:node:{node}") => Ok(()),
        Ok(_) => refuse(&format!(
            "can only create a node CSR with CN=system:node:{node}"
        )),
        Err(RequestError::Signature) => Ok(()),
        Err(why) => refuse(&format!("unable to parse csr: {why}")),
    }
}

/// Rejects requests for a client certificate in `system:masters` (`CertificateSubjectRestriction`).
fn reject_masters(call: &Call, name: &str, object: &Map<String, Value>) -> Result<(), StatusError> {
    let signer = "kubernetes.io/kube-apiserver-client";
    if text(object, &["spec", "signerName"]) != signer {
        return Ok(());
    }
    let subject = pkcs10::read(&csr_strategy::encoded(object));
    let masters = |subject: pkcs10::Subject| {
        let mut groups = subject.organizations.iter();
        groups.any(|group| group == "system:masters")
    };
    if subject.is_ok_and(masters) {
        let why = format!("use of {signer} signer with system:masters group is not allowed");
        return Err(StatusError::forbidden(call.path.resource, name, &why));
    }
    Ok(())
}

/// Admits an update, before it is validated.
pub(super) fn update(
    call: &Call,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Result<(), StatusError> {
    let resource = call.path.resource;
    let name = &call.path.name;
    let refuse = |why: &str| Err(StatusError::forbidden(resource, name, why));
    let Some(node) = node(call) else {
        return Ok(());
    };
    if resource.plural != "nodes" {
        return Ok(());
    }
    if name != node {
        return refuse(&format!(
            "node {node:?} is not allowed to modify node {name:?}"
        ));
    }
    if at(old, &["spec", "taints"]) != at(new, &["spec", "taints"]) {
        return refuse(&format!("node {node:?} is not allowed to modify taints"));
    }
    let owners = ["metadata", "ownerReferences"];
    if at(old, &owners) != at(new, &owners) {
        return refuse(&format!(
            "node {node:?} is not allowed to modify ownerReferences"
        ));
    }
    let forbidden = forbidden_labels(old, new);
    if !forbidden.is_empty() {
        return refuse(&format!(
            "is not allowed to modify labels: {}",
            forbidden.join(", ")
        ));
    }
    Ok(())
}

/// Admits an approval or denial: this approver must be authorized for the signer.
pub(super) fn approve(call: &Call, old: &Map<String, Value>) -> Result<(), StatusError> {
    if call.path.subresource != "approval" {
        return Ok(());
    }
    let signer = text(old, &["spec", "signerName"]);
    if authz::may_use_signer(&call.shared.store, &call.user, "approve", signer) {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(StatusError::forbidden(
        call.path.resource,
        &call.path.name,
        &why,
    ))
}

/// Admits a deletion.
pub(super) fn delete(call: &Call) -> Result<(), StatusError> {
    let (resource, name) = (call.path.resource, &call.path.name);
    match node(call) {
        Some(node) if resource.plural == "nodes" && name != node => {
            let why = format!("node {node:?} is not allowed to modify node {name:?}");
            Err(StatusError::forbidden(resource, name, &why))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the changed labels that a kubelet may not change.
fn forbidden_labels(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let none = Map::new();
    let labels = |object| {
        let labels = at(object, &["metadata", "labels"]);
        labels.and_then(Value::as_object)
    };
    let old = labels(old).unwrap_or(&none);
    let new = labels(new).unwrap_or(&none);
    let mut changed: Vec<&String> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .collect();
    changed.sort();
    changed.dedup();
    let forbidden = |key: &&String| {
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let within = |of: &str| {
            domain == of
                || domain
                    .strip_suffix(of)
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        within("node-restriction.kubernetes.io")
            || (within("kubernetes.io") || within("k8s.io"))
                && !NODE_LABELS.contains(&key.as_str())
                && !NODE_LABEL_DOMAINS.iter().any(|of| within(of))
    };
    changed.into_iter().filter(forbidden).cloned().collect()
}
