//! Create, update and patch.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::encoding::{self, at, text};
use super::events;
use super::failure::{Cause, Failure};
use super::http::{Accept, Call, json_bytes, json_value};
use super::resources::Resource;
use super::store::{Clash, Expected, Stored};
use super::{admission, certificates, metadata, patch, table};

/// How often a write that names no version is tried again.
const TRIES: usize = 16;
const TRIES_OF_NAMES: usize = 8;

/// A body as an object.
pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let value: Value = match content_type {
        "" | "application/json" => serde_json::from_slice(body).map_err(|error| {
            Failure::bad_request(format!("the object provided is unrecognized: {error}"))
        })?,
        "application/yaml" => yaml(body)?,
        _ => {
            return Err(Failure::unsupported_media_type(
                "application/json, application/yaml",
            ));
        }
    };
    if let Value::Object(object) = value {
        Ok(object)
    } else {
        Err(Failure::bad_request(
            "the object provided is unrecognized: expected a JSON object",
        ))
    }
}

fn yaml(body: &[u8]) -> Result<Value, Failure> {
    let wrong = |error: String| Failure::bad_request(format!("error decoding YAML: {error}"));
    let text = std::str::from_utf8(body).map_err(|error| wrong(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// An object as it is stored: of the right kind, its fields of the right types, none unknown.
fn read(
    resource: &Resource,
    mut object: Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let api_version = resource.api_version();
    for (field, expected) in [("kind", resource.kind), ("apiVersion", &api_version)] {
        let found = text(&object, &[field]);
        if !found.is_empty() && found != expected {
            return Err(Failure::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: expected {field} {expected:?}, \
                 found {found:?}",
                resource.kind, resource.version, resource.kind
            )));
        }
        object.insert(field.into(), expected.into());
    }
    let canonical = (resource.canonical)(Value::Object(object)).map_err(|error| {
        Failure::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {error}",
            resource.kind, resource.version, resource.kind
        ))
    })?;
    let Value::Object(mut object) = canonical else {
        return Err(Failure::internal("a type that is no object"));
    };
    object.remove("kind");
    object.remove("apiVersion");
    if resource.is_new_event() {
        object = events::older(object);
    }
    defaults(resource, &mut object);
    Ok(object)
}

/// What the original shows although nobody has written it.
fn defaults(resource: &Resource, object: &mut Map<String, Value>) {
    match resource.kind {
        "Node" => {
            let status = object.entry("status").or_insert_with(|| json!({}));
            if let Value::Object(status) = status {
                status
                    .entry("daemonEndpoints")
                    .or_insert_with(|| json!({"kubeletEndpoint": {"Port": 0}}));
                status.entry("nodeInfo").or_insert_with(|| {
                    let keys = [
                        "architecture",
                        "bootID",
                        "containerRuntimeVersion",
                        "kernelVersion",
                        "kubeProxyVersion",
                        "kubeletVersion",
                        "machineID",
                        "operatingSystem",
                        "osImage",
                        "systemUUID",
                    ];
                    keys.iter().map(|key| (*key, "")).collect()
                });
            }
            object.entry("spec").or_insert_with(|| json!({}));
        }
        "CertificateSigningRequest" => {
            object.entry("status").or_insert_with(|| json!({}));
        }
        "Namespace" => {
            object.insert("status".into(), json!({"phase": "Active"}));
            let name = text(object, &["metadata", "name"]).to_owned();
            metadata::of(object, |metadata| {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                if let Value::Object(labels) = labels {
                    labels.insert("kubernetes.io/metadata.name".into(), name.into());
                }
            });
        }
        _ => {}
    }
}

/// The answer to a write.
fn written(call: &Call, status: StatusCode, stored: &Stored) -> Result<Response, Failure> {
    let resource = call.path.resource;
    match call.accept {
        Accept::Json => Ok(json_bytes(status, encoding::whole(resource, stored))),
        Accept::Table => Ok(json_value(status, &table::of_one(call, stored))),
        Accept::Metadata => Ok(json_value(status, &table::metadata_of(stored))),
    }
}

/// An object that is shown as if it were stored.
fn imagined(call: &Call, object: Map<String, Value>) -> Response {
    json_value(
        StatusCode::CREATED,
        &encoding::named(call.path.resource, object),
    )
}

/// POST.
pub(super) fn create(call: &Call) -> Result<Response, Failure> {
    let resource = call.path.resource;
    let object = read(resource, parse(&call.content_type, &call.body)?)?;
    let stored = insert(call, object)?;
    match stored {
        Ok(stored) => written(call, StatusCode::CREATED, &stored),
        Err(shown) => Ok(imagined(call, shown)),
    }
}

type Inserted = Result<Arc<Stored>, Map<String, Value>>;

/// Stores a new object, or gives it back if it is only to be shown.
fn insert(call: &Call, object: Map<String, Value>) -> Result<Inserted, Failure> {
    let resource = call.path.resource;
    let namespace = &call.path.namespace;
    if resource.namespaced && call.shared.store.get("namespaces", namespace).is_none() {
        let namespaces = super::resources::stored("namespaces").unwrap_or(resource);
        return Err(Failure::not_found(namespaces, namespace));
    }
    let generated = text(&object, &["metadata", "name"]).is_empty();
    let mut taken = String::new();
    for _ in 0..TRIES_OF_NAMES {
        let mut object = object.clone();
        let name = metadata::created(resource, namespace, &mut object, &call.shared.clock.now())?;
        admission::create(call, &name, &mut object)?;
        if resource.kind == "CertificateSigningRequest" {
            certificates::created(&call.user, &mut object);
            certificates::check(resource, &name, &object, None)?;
        }
        if call.dry_run() {
            return Ok(Err(object));
        }
        let key = call.key(&name);
        match call
            .shared
            .store
            .put(resource.plural, &key, Expected::Absent, object)
        {
            Ok(stored) => {
                call.shared.record(call, &stored);
                return Ok(Ok(stored));
            }
            Err(Clash) => taken = name,
        }
        if !generated {
            break;
        }
    }
    Err(Failure::exists(resource, &taken))
}

/// PUT.
pub(super) fn update(call: &Call) -> Result<Response, Failure> {
    let resource = call.path.resource;
    let given = read(resource, parse(&call.content_type, &call.body)?)?;
    let version = text(&given, &["metadata", "resourceVersion"]).to_owned();
    metadata::same_name(&call.path.name, &given)?;
    let key = call.key(&call.path.name);
    if resource.create_on_update
        && call.path.subresource.is_empty()
        && call.shared.store.get(resource.plural, &key).is_none()
    {
        let mut given = given;
        metadata::of(&mut given, |metadata| {
            metadata.remove("resourceVersion");
        });
        return match insert(call, given)? {
            Ok(stored) => written(call, StatusCode::CREATED, &stored),
            Err(shown) => Ok(imagined(call, shown)),
        };
    }
    if version.is_empty() && !resource.unconditional {
        return Err(Failure::unversioned(resource, &call.path.name));
    }
    change(call, |_| Ok(given.clone()))
}

/// PATCH.
pub(super) fn patch(call: &Call) -> Result<Response, Failure> {
    let resource = call.path.resource;
    let kind = patch::Kind::parse(&call.content_type)?;
    let key = call.key(&call.path.name);
    if kind == patch::Kind::Apply {
        if call.parameter("fieldManager").is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_options("PatchOptions", &cause));
        }
        let absent = call.shared.store.get(resource.plural, &key).is_none();
        if absent && call.path.subresource.is_empty() {
            let object = read(resource, parse("application/yaml", &call.body)?)?;
            return match insert(call, object)? {
                Ok(stored) => written(call, StatusCode::CREATED, &stored),
                Err(shown) => Ok(imagined(call, shown)),
            };
        }
    }
    let patch = patch::Patch::parse(kind, &call.body)?;
    change(call, |stored| {
        let shown = encoding::named(resource, stored.object());
        let Value::Object(patched) = patch.apply(shown)? else {
            return Err(Failure::bad_request("the patched object is no object"));
        };
        read(resource, patched)
    })
}

/// Reads, changes and writes; again, as long as others write in between and no version is named.
fn change(
    call: &Call,
    new: impl Fn(&Stored) -> Result<Map<String, Value>, Failure>,
) -> Result<Response, Failure> {
    let resource = call.path.resource;
    let name = &call.path.name;
    let key = call.key(name);
    for _ in 0..TRIES {
        let found = call.shared.store.get(resource.plural, &key);
        let stored = found.ok_or_else(|| Failure::not_found(resource, name))?;
        let old = stored.object();
        let mut object = new(&stored)?;
        let version = text(&object, &["metadata", "resourceVersion"]).to_owned();
        let named = !version.is_empty();
        metadata::in_namespace(resource, &call.path.namespace, &mut object)?;
        metadata::updated(resource, name, &old, &mut object)?;
        // A patch may name a version too.
        if named && version != stored.version.to_string() {
            return Err(Failure::changed(resource, name));
        }
        parts(call, &old, &mut object);
        admission::update(call, &old, &object)?;
        if resource.kind == "CertificateSigningRequest" {
            let subresource = call.path.subresource.as_str();
            certificates::updated(subresource, &old, &mut object, &call.shared.clock.now());
            certificates::check(resource, name, &object, Some((subresource, &old)))?;
            admission::approve(call, &old)?;
        }
        if call.dry_run() {
            let shown = encoding::named(resource, object);
            return Ok(json_value(StatusCode::OK, &shown));
        }
        let stored = match done_with(&object) {
            true => call
                .shared
                .store
                .remove(resource.plural, &key, stored.version, object),
            false => {
                let expected = Expected::Version(stored.version);
                call.shared
                    .store
                    .put(resource.plural, &key, expected, object)
            }
        };
        match stored {
            Ok(stored) => {
                call.shared.record(call, &stored);
                return written(call, StatusCode::OK, &stored);
            }
            Err(Clash) if named && call.verb == "update" => break,
            Err(Clash) => {}
        }
    }
    Err(Failure::changed(resource, name))
}

/// An object that waits for its end and whose last finalizer is gone.
fn done_with(object: &Map<String, Value>) -> bool {
    let finalizers = at(object, &["metadata", "finalizers"]);
    let none = finalizers
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    none && at(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// Whoever writes the object leaves its status, and the other way round.
fn parts(call: &Call, old: &Map<String, Value>, new: &mut Map<String, Value>) {
    if !call.path.resource.has("status") {
        return;
    }
    let keep = |key: &str, new: &mut Map<String, Value>| match old.get(key) {
        Some(value) => new.insert(key.into(), value.clone()),
        None => new.remove(key),
    };
    match call.path.subresource.as_str() {
        "" => {
            keep("status", new);
        }
        _ => {
            keep("spec", new);
        }
    }
}
