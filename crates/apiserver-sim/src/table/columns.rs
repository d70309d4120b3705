//! The columns of each kind.

use serde_json::{Map, Value};

use super::super::object::{at, text};
use super::super::resources::Resource;
use super::age::since;
use super::cell::{Column, or};
use super::{events, nodes, requests};

pub(super) fn columns(resource: &Resource) -> &'static [Column] {
    match resource.plural {
        "nodes" => &[
            ("Name", false),
            ("Status", false),
            ("Roles", false),
            ("Age", false),
            ("Version", false),
            ("Internal-IP", true),
            ("External-IP", true),
            ("OS-Image", true),
            ("Kernel-Version", true),
            ("Container-Runtime", true),
        ],
        "certificatesigningrequests" => &[
            ("Name", false),
            ("Age", false),
            ("SignerName", false),
            ("Requestor", false),
            ("RequestedDuration", false),
            ("Condition", false),
        ],
        "events" => &[
            ("Last Seen", false),
            ("Type", false),
            ("Reason", false),
            ("Object", false),
            ("Subobject", true),
            ("Source", true),
            ("Message", false),
            ("First Seen", true),
            ("Count", true),
            ("Name", true),
        ],
        "namespaces" => &[("Name", false), ("Status", false), ("Age", false)],
        "leases" => &[("Name", false), ("Holder", false), ("Age", false)],
        "configmaps" => &[("Name", false), ("Data", false), ("Age", false)],
        "servicecidrs" => &[("Name", false), ("CIDRs", false), ("Age", false)],
        "networkpolicies" => &[("Name", false), ("Pod-Selector", false), ("Age", false)],
        "clusterroles" | "roles" => &[("Name", false), ("Created At", false)],
        _ => &[("Name", false), ("Age", false)],
    }
}

/// Returns the row of an object.
pub(super) fn cells(resource: &Resource, name: &str, object: &Map<String, Value>) -> Vec<Value> {
    let created = text(object, &["metadata", "creationTimestamp"]);
    let age = since(created);
    match resource.plural {
        "nodes" => nodes::cells(name, &age, object),
        "certificatesigningrequests" => requests::cells(name, &age, object),
        "events" => events::cells(name, object),
        "namespaces" => vec![
            name.into(),
            text(object, &["status", "phase"]).into(),
            age.into(),
        ],
        "leases" => {
            let holder = text(object, &["spec", "holderIdentity"]);
            vec![name.into(), holder.into(), age.into()]
        }
        "configmaps" => {
            let count = |key: &str| {
                object
                    .get(key)
                    .and_then(Value::as_object)
                    .map_or(0, Map::len)
            };
            let count = count("data").saturating_add(count("binaryData"));
            vec![name.into(), count.into(), age.into()]
        }
        "servicecidrs" => {
            let cidrs = at(object, &["spec", "cidrs"]).and_then(Value::as_array);
            let cidrs: Vec<&str> = cidrs
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            vec![name.into(), cidrs.join(",").into(), age.into()]
        }
        "networkpolicies" => {
            let labels = at(object, &["spec", "podSelector", "matchLabels"]);
            let labels = labels.and_then(Value::as_object).into_iter().flatten();
            let labels: Vec<String> = labels
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            let labels = labels.join(",");
            vec![name.into(), or(&labels, "<none>").into(), age.into()]
        }
        "clusterroles" | "roles" => vec![name.into(), created.into()],
        _ => vec![name.into(), age.into()],
    }
}
