//! Machines: objects of any kind that describe the machine behind a Node, such as those of Cluster
//! API.

use kube::ResourceExt;
use kube::api::DynamicObject;

use judge::csr::names::NodeName;
use judge::evidence::{Machine, NodeReference};
use judge::policy::MachineKind;

/// Maximum number of addresses that are read from one Machine.
const MAX_ADDRESSES: usize = 256;

/// Returns true if the policy selects the object: the daemon watches no other. The group and the kind are
/// compared by the caller.
pub fn is_selected(kind: &MachineKind, object: &DynamicObject) -> bool {
    let is_in_namespace = kind.namespace.is_none() || kind.namespace == object.namespace();
    let mut selector = kind.label_selector.iter();
    is_in_namespace && selector.all(|selector| selector.matches(object.labels()))
}

/// Converts an object to the Machine that it describes.
pub fn machine(kind: &MachineKind, object: &DynamicObject) -> Machine {
    let meta = &object.metadata;
    // The policy's paths start at the whole object. kube keeps `metadata` separately.
    let mut whole = object.data.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("metadata".into(), serde_json::json!(meta));
    }
    let node = match &kind.node_name {
        Some(path) => NodeReference::Name(path.strings(&whole).next().and_then(NodeName::parse)),
        None => NodeReference::ProviderId,
    };
    let path = kind.provider_id.as_ref();
    let provider_id = path.and_then(|path| path.strings(&whole).next());
    Machine {
        key: key(kind, object).into(),
        node,
        provider_id: provider_id.map(Into::into),
        checks_provider_id: kind.provider_id.is_some(),
        addresses: kind
            .addresses
            .iter()
            .flat_map(|path| path.strings(&whole))
            .take(MAX_ADDRESSES)
            .filter_map(Machine::parse_address)
            .collect(),
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// A unique name of the object, for findings.
pub fn key(kind: &MachineKind, object: &DynamicObject) -> String {
    let name = object.name_any();
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
