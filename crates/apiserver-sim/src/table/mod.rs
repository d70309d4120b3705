//! Tables, as kubectl shows them (`pkg/printers/internalversion`).

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

/// What of the object stands beside its row.
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

/// The table of one object.
pub(super) fn of_one(call: &Call, stored: &Stored) -> Value {
    let resource = call.path.resource;
    let row = row(resource, stored, Included::parse(call));
    table(resource, &version_of(stored), &[row], true)
}

/// The table of a list.
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

/// The table of an event of a watch; only the first says what the columns are.
pub(super) fn of_event(
    resource: &Resource,
    stored: &Stored,
    included: Included,
    with_columns: bool,
) -> Value {
    let row = row(resource, stored, included);
    table(resource, &version_of(stored), &[row], with_columns)
}

/// A bookmark among tables.
pub(super) fn bookmark(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "Table".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}

/// An object of which only the metadata is shown.
pub(super) fn metadata_of(stored: &Stored) -> Value {
    let mut object = stored.object();
    object.retain(|key, _| key == "metadata");
    named_metadata(object)
}

/// The kind of what shows only metadata.
pub(super) fn named_metadata(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "PartialObjectMetadata".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}
