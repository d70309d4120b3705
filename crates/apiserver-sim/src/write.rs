//! Create, update and patch.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::call::{Accept, Call};
use super::decode::Typed;
use super::encoding;
use super::object::{at, text};
use super::patch::Patch;
use super::respond::{json_bytes, json_value};
use super::status_error::{Cause, StatusError};
use super::store::{Conflict, Expected, Stored};
use super::{admission, csr_strategy, decode, field_validation, metadata, patch, table};

/// The maximum number of attempts of a write that names no version.
const MAX_ATTEMPTS: usize = 16;
const NAME_ATTEMPTS: usize = 8;

/// Responds to a write.
fn response(call: &Call, status: StatusCode, stored: &Stored, warnings: &[String]) -> Response {
    let resource = call.path.resource;
    let answer = match call.accept {
        Accept::Json => json_bytes(status, encoding::whole(resource, stored)),
        Accept::Table => json_value(status, &table::of_one(call, stored)),
        Accept::Metadata => json_value(status, &table::metadata_of(stored)),
    };
    field_validation::warn(answer, warnings)
}

/// Responds to a dry run as if the object were stored.
fn dry_run_response(call: &Call, object: Map<String, Value>, warnings: &[String]) -> Response {
    let shown = encoding::named(call.path.resource, object);
    field_validation::warn(json_value(StatusCode::CREATED, &shown), warnings)
}

/// Handles POST.
pub(super) fn create(call: &Call) -> Result<Response, StatusError> {
    create_object(call, decode::read(call)?)
}

/// Creates an object and responds with it. A dry run stores nothing.
fn create_object(call: &Call, typed: Typed) -> Result<Response, StatusError> {
    let Typed { object, warnings } = typed;
    Ok(match insert(call, object)? {
        Ok(stored) => response(call, StatusCode::CREATED, &stored, &warnings),
        Err(shown) => dry_run_response(call, shown, &warnings),
    })
}

type Inserted = Result<Arc<Stored>, Map<String, Value>>;

/// Stores a new object. A dry run returns it as an error.
fn insert(call: &Call, object: Map<String, Value>) -> Result<Inserted, StatusError> {
    let resource = call.path.resource;
    let namespace = &call.path.namespace;
    if resource.namespaced && call.shared.store.get("namespaces", namespace).is_none() {
        let namespaces = super::resources::stored("namespaces").unwrap_or(resource);
        return Err(StatusError::not_found(namespaces, namespace));
    }
    let generated = text(&object, &["metadata", "name"]).is_empty();
    let mut taken = String::new();
    for _ in 0..NAME_ATTEMPTS {
        let mut object = object.clone();
        let name = metadata::created(resource, namespace, &mut object, &call.shared)?;
        admission::create(call, &name, &mut object)?;
        if resource.kind == "CertificateSigningRequest" {
            csr_strategy::created(&call.user, &mut object);
            csr_strategy::check(resource, &name, &object, None)?;
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
                call.record(&stored);
                return Ok(Ok(stored));
            }
            Err(Conflict) => taken = name,
        }
        if !generated {
            break;
        }
    }
    Err(StatusError::exists(resource, &taken))
}

/// Handles PUT.
pub(super) fn update(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let mut given = decode::read(call)?;
    let version = text(&given.object, &["metadata", "resourceVersion"]).to_owned();
    metadata::same_name(&call.path.name, &given.object)?;
    let key = call.key(&call.path.name);
    if resource.create_on_update
        && call.path.subresource.is_empty()
        && call.shared.store.get(resource.plural, &key).is_none()
    {
        metadata::of(&mut given.object, |metadata| {
            metadata.remove("resourceVersion");
        });
        return create_object(call, given);
    }
    if version.is_empty() && !resource.unconditional {
        return Err(StatusError::unversioned(resource, &call.path.name));
    }
    change(call, |_| Ok(given.clone()))
}

/// Handles PATCH.
pub(super) fn patch(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let kind = patch::Kind::parse(&call.content_type)?;
    let key = call.key(&call.path.name);
    let patch = if kind == patch::Kind::Apply {
        if call.parameter("fieldManager").is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(StatusError::invalid_options("PatchOptions", &cause));
        }
        let object = decode::applied(call)?;
        let absent = call.shared.store.get(resource.plural, &key).is_none();
        if absent && call.path.subresource.is_empty() {
            return create_object(call, decode::patched(call, object)?);
        }
        Patch::Strategic(Value::Object(object))
    } else {
        Patch::parse(kind, &call.body)?
    };
    change(call, |stored| {
        let shown = encoding::named(resource, stored.object());
        let Value::Object(patched) = patch.apply(shown)? else {
            return Err(StatusError::bad_request("the patched object is no object"));
        };
        decode::patched(call, patched)
    })
}

/// Reads, changes and writes an object. Retries on a conflict, unless the client named a version.
fn change(
    call: &Call,
    new: impl Fn(&Stored) -> Result<Typed, StatusError>,
) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let name = &call.path.name;
    let key = call.key(name);
    for _ in 0..MAX_ATTEMPTS {
        let found = call.shared.store.get(resource.plural, &key);
        let stored = found.ok_or_else(|| StatusError::not_found(resource, name))?;
        let old = stored.object();
        let Typed {
            mut object,
            warnings,
        } = new(&stored)?;
        let version = text(&object, &["metadata", "resourceVersion"]).to_owned();
        let named = !version.is_empty();
        metadata::in_namespace(resource, &call.path.namespace, &mut object)?;
        metadata::updated(resource, name, &old, &mut object)?;
        // A patch can name a version too.
        if named && version != stored.version.to_string() {
            return Err(StatusError::changed(resource, name));
        }
        merge_parts(call, &old, &mut object);
        admission::update(call, &old, &object)?;
        if resource.kind == "CertificateSigningRequest" {
            let subresource = call.path.subresource.as_str();
            csr_strategy::updated(subresource, &old, &mut object, &call.shared.clock.now());
            csr_strategy::check(resource, name, &object, Some((subresource, &old)))?;
            admission::approve(call, &old)?;
        }
        if call.dry_run() {
            let shown = encoding::named(resource, object);
            return Ok(field_validation::warn(
                json_value(StatusCode::OK, &shown),
                &warnings,
            ));
        }
        let stored = match is_finalized(&object) {
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
                call.record(&stored);
                return Ok(response(call, StatusCode::OK, &stored, &warnings));
            }
            Err(Conflict) if named && call.verb == "update" => break,
            Err(Conflict) => {}
        }
    }
    Err(StatusError::changed(resource, name))
}

/// Returns true if the object is being deleted and has no finalizer left.
fn is_finalized(object: &Map<String, Value>) -> bool {
    let finalizers = at(object, &["metadata", "finalizers"]);
    let none = finalizers
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    none && at(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// Keeps the status in a write of the object, and the spec in a write of the status.
fn merge_parts(call: &Call, old: &Map<String, Value>, new: &mut Map<String, Value>) {
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
