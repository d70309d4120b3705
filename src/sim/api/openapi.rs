//! OpenAPI, version 3: one document for each version of a group, and an index of them. kubectl looks
//! there for whether a write of a kind takes `fieldValidation`, and `explain` for what a kind has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::discovery::{GIT_VERSION, groups, of_group};
use super::resources::Resource;

/// Documents by their place, such as `apis/apps/v1`: what they are, and their digest.
static DOCUMENTS: LazyLock<BTreeMap<String, (Bytes, String)>> = LazyLock::new(|| {
    let groups = groups().into_iter().chain([""]);
    let document = |group: &'static str| {
        let bytes = Bytes::from(of(group).to_string());
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
        (place(group), (bytes, digest.collect()))
    };
    groups.map(document).collect()
});

fn place(group: &str) -> String {
    match group {
        "" => "api/v1".to_owned(),
        group => format!("apis/{group}/v1"),
    }
}

/// Where the documents are. An address changes with what is there, so clients may keep that.
pub(super) fn index() -> Value {
    let entry = |(place, (_, digest)): (&String, &(Bytes, String))| {
        let url = format!("/openapi/v3/{place}?hash={digest}");
        (place.clone(), json!({"serverRelativeURL": url}))
    };
    json!({"paths": DOCUMENTS.iter().map(entry).collect::<Map<_, _>>()})
}

/// The document at this place.
pub(super) fn document(place: &str) -> Option<Bytes> {
    DOCUMENTS.get(place).map(|(bytes, _)| bytes.clone())
}

fn of(group: &'static str) -> Value {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut paths = Map::new();
    let mut kinds = Vec::new();
    for resource in of_group(group) {
        (resource.schema)(&mut generator);
        kinds.push(resource);
        let namespace = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let all = format!("/{}{namespace}/{}", place(group), resource.plural);
        let one = format!("{all}/{{name}}");
        for part in resource
            .subresources
            .iter()
            .filter(|part| **part != "token")
        {
            let operations = operations(resource, &["get", "put", "patch"]);
            paths.insert(format!("{one}/{part}"), operations);
        }
        paths.insert(
            one,
            operations(resource, &["get", "put", "patch", "delete"]),
        );
        paths.insert(all, operations(resource, &["get", "post", "delete"]));
    }
    let mut schemas = generator.take_definitions(true);
    for resource in kinds {
        name(resource, &mut schemas);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// Tells clients which schema is that of a kind: it ends with the kind's name.
fn name(resource: &Resource, schemas: &mut Map<String, Value>) {
    let end = format!(".{}.{}", resource.version, resource.kind);
    let mut schemas = schemas.iter_mut();
    if let Some((_, Value::Object(schema))) = schemas.find(|(name, _)| name.ends_with(&end)) {
        let kinds = json!([kind(resource)]);
        schema.insert("x-kubernetes-group-version-kind".into(), kinds);
    }
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

/// What is sent is not described: kubectl knows by itself how to merge what is built in.
fn operations(resource: &Resource, methods: &[&str]) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let writing = ["dryRun", "fieldManager", "fieldValidation"].map(parameter);
    let operation = |method: &&str| {
        let writes = ["patch", "post", "put"].contains(method);
        let parameters: &[Value] = if writes { &writing } else { &[] };
        let operation = json!({
            "parameters": parameters,
            "responses": {},
            "x-kubernetes-group-version-kind": kind(resource),
        });
        ((*method).to_owned(), operation)
    };
    Value::Object(methods.iter().map(operation).collect())
}
