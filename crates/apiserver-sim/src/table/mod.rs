//! Tables for kubectl (`pkg/printers/internalversion`).

mod age;
mod cell;
mod columns;
mod events;
mod nodes;
mod requests;

use serde_json::{Map, Value, json};

use self::cell::Column;
use self::columns::{cells, columns};
use super::call::Call;
use super::encoding;
use super::resources::Resource;
use super::store::{Page, Stored};

/// The part of the object that is included in its row (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Included {
    None,
    Metadata,
    Object,
}

impl Included {
    pub(super) fn parse(call: &Call) -> Included {
        match call.parameter("includeObject") {
            "None" => Included::None,
            "Object" => Included::Object,
            _ => Included::Metadata,
        }
    }
}

fn definitions(resource: &Resource) -> Value {
    let definition = |(name, wide): &Column| {
        json!({
            "name": name,
            "type": "string",
            "format": if *name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(*wide),
        })
    };
    columns(resource).iter().map(definition).collect()
}

fn row(resource: &Resource, stored: &Stored, included: Included) -> Value {
    let object = stored.object();
    let cells = cells(resource, stored.name(), &object);
    let shown = match included {
        Included::None => Value::Null,
        Included::Metadata => metadata_of(stored),
        Included::Object => encoding::named(resource, object),
    };
    json!({"cells": cells, "object": shown})
}

fn table(resource: &Resource, metadata: &Value, rows: &[Value], with_columns: bool) -> Value {
    let columns = if with_columns {
        definitions(resource)
    } else {
        Value::Null
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn version_of(stored: &Stored) -> Value {
    json!({"resourceVersion": stored.version.to_string()})
}

/// Renders the table of one object.
pub(super) fn of_one(call: &Call, stored: &Stored) -> Value {
    let resource = call.path.resource;
    let row = row(resource, stored, Included::parse(call));
    table(resource, &version_of(stored), &[row], true)
}

/// Renders the table of a list.
pub(super) fn of_page(call: &Call, page: &Page, next: Option<String>) -> Value {
    let resource = call.path.resource;
    let included = Included::parse(call);
    let rows: Vec<Value> = page
        .objects
        .iter()
        .map(|stored| row(resource, stored, included))
        .collect();
    table(resource, &encoding::list_metadata(page, next), &rows, true)
}

/// Renders the table of a watch event. Only the first one has column definitions.
pub(super) fn of_event(
    resource: &Resource,
    stored: &Stored,
    included: Included,
    with_columns: bool,
) -> Value {
    let row = row(resource, stored, included);
    table(resource, &version_of(stored), &[row], with_columns)
}

/// Renders a bookmark in table format.
pub(super) fn bookmark(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "Table".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}

/// Renders an object as `PartialObjectMetadata`.
pub(super) fn metadata_of(stored: &Stored) -> Value {
    let mut object = stored.object();
    object.retain(|key, _| key == "metadata");
    named_metadata(object)
}

/// Sets the kind `PartialObjectMetadata`.
pub(super) fn named_metadata(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "PartialObjectMetadata".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}
