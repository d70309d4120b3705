//! Encoding of stored objects for clients.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::events;
use super::resources::Resource;
use super::store::{Page, Stored};

/// Encodes a stored object with the kind and version of this resource.
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

/// Encodes a stored object as a list item, without kind and version.
pub(super) fn item(resource: &Resource, stored: &Stored) -> Bytes {
    shown(resource, stored)
}

fn shown(resource: &Resource, stored: &Stored) -> Bytes {
    if resource.is_new_event() {
        Bytes::from(Value::Object(events::to_events_v1(stored.object())).to_string())
    } else {
        stored.body.clone()
    }
}

/// Returns the JSON after the opening brace.
fn inner(body: &Bytes) -> &[u8] {
    body.get(1..).unwrap_or_default()
}

/// Adds kind and version to an object that is not stored.
pub(super) fn named(resource: &Resource, object: Map<String, Value>) -> Value {
    let mut object = if resource.is_new_event() {
        events::to_events_v1(object)
    } else {
        object
    };
    object.insert("kind".into(), resource.kind.into());
    object.insert("apiVersion".into(), resource.api_version().into());
    Value::Object(object)
}

/// Renders the `metadata` of a list.
pub(super) fn list_metadata(page: &Page, next: Option<String>) -> Value {
    let mut metadata = json!({"resourceVersion": page.version.to_string()});
    if let (Value::Object(metadata), Some(next)) = (&mut metadata, next) {
        metadata.insert("continue".into(), next.into());
        if let Some(remaining) = page.remaining {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
    }
    metadata
}
