//! How objects are put together for those who read them.

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::events;
use super::resources::Resource;
use super::store::Stored;

/// Text at a place of an object; empty if there is none.
pub(super) fn text<'a>(object: &'a Map<String, Value>, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The value at a place of an object.
pub(super) fn at<'a>(object: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut value = object.get(*first)?;
    for step in rest {
        value = value.get(step)?;
    }
    Some(value)
}

/// A stored object with its kind and version, as this resource shows it.
pub(super) fn whole(resource: &Resource, stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored.body.len().saturating_add(80));
    bytes.extend_from_slice(
        format!(
            "{{\"kind\":{:?},\"apiVersion\":{:?},",
            resource.kind,
            resource.api_version()
        )
        .as_bytes(),
    );
    bytes.extend_from_slice(inner(&shown(resource, stored)));
    bytes
}

/// A stored object as one of a list: without kind and version.
pub(super) fn item(resource: &Resource, stored: &Stored) -> Bytes {
    shown(resource, stored)
}

fn shown(resource: &Resource, stored: &Stored) -> Bytes {
    if resource.is_new_event() {
        Bytes::from(Value::Object(events::newer(stored.object())).to_string())
    } else {
        stored.body.clone()
    }
}

/// After the opening brace.
fn inner(body: &Bytes) -> &[u8] {
    body.get(1..).unwrap_or_default()
}

/// An object that is not stored.
pub(super) fn named(resource: &Resource, object: Map<String, Value>) -> Value {
    let mut object = if resource.is_new_event() {
        events::newer(object)
    } else {
        object
    };
    object.insert("kind".into(), resource.kind.into());
    object.insert("apiVersion".into(), resource.api_version().into());
    Value::Object(object)
}

/// The fields besides name and namespace that can be selected by.
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

/// The values of these fields.
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
