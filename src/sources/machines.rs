//! Objects that stand for what made the nodes, read as Machines, whatever kind they are.

use kube::ResourceExt;
use kube::api::DynamicObject;

use judge::csr::names::{NodeName, San};
use judge::evidence::{Machine, MachineLink};
use judge::policy::MachineKind;

/// Addresses of one Machine that are looked at.
const MAX_ADDRESSES: usize = 256;

/// The Machine that the object stands for.
pub fn machine(kind: &MachineKind, object: &DynamicObject) -> Machine {
    let meta = &object.metadata;
    // The paths begin at the whole object, of which kube keeps `metadata` apart.
    let mut whole = object.data.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("metadata".into(), serde_json::json!(meta));
    }
    let link = match &kind.node_name {
        Some(path) => MachineLink::Name(path.strings(&whole).next().and_then(NodeName::parse)),
        None => MachineLink::ProviderId,
    };
    Machine {
        key: key(kind, object).into(),
        link,
        provider_id: kind.provider_id.strings(&whole).next().map(Into::into),
        addresses: kind
            .addresses
            .iter()
            .flat_map(|path| path.strings(&whole))
            .take(MAX_ADDRESSES)
            .filter_map(San::from_host_text)
            .collect(),
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// What people know the object by, and no other object.
pub fn key(kind: &MachineKind, object: &DynamicObject) -> String {
    let name = object.name_any();
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
