//! Access to fields of an object by path, and the selectable fields of each resource.

use serde_json::{Map, Value};

/// Returns the text at a path, empty if it is missing.
pub(super) fn text<'a>(object: &'a Map<String, Value>, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the value at a path.
pub(super) fn at<'a>(object: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = object.get(*first)?;
    for step in rest {
        value = value.get(step)?;
    }
    Some(value)
}

/// Returns the selectable fields, besides name and namespace.
pub(super) fn selectable(storage: &str) -> &'static [&'static str] {
    match storage {
        "certificatesigningrequests" => &["spec.signerName"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "pods" => &["spec.nodeName", "status.phase", "status.podIP"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

/// Returns the values of the selectable fields.
pub(super) fn selectable_fields(
    storage: &str,
    object: &Map<String, Value>,
) -> Vec<(&'static str, String)> {
    let value = |field: &&'static str| {
        let found = match *field {
            "source" => {
                let component = text(object, &["source", "component"]);
                if component.is_empty() {
                    text(object, &["reportingComponent"]).to_owned()
                } else {
                    component.to_owned()
                }
            }
            "spec.unschedulable" => {
                let cordoned = at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
                cordoned.to_string()
            }
            path => text(object, &path.split('.').collect::<Vec<_>>()).to_owned(),
        };
        (*field, found)
    };
    selectable(storage).iter().map(value).collect()
}
