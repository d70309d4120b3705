//! Deletion, immediate or after the last finalizer is removed.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::encoding;
use super::metadata;
use super::object::{at, text};
use super::protobuf::Expected;
use super::respond::{json_bytes, success};
use super::status_error::StatusError;
use super::store::{self, Conflict, PageRequest, Scope, Stored};
use super::{admission, decode, read};

const MAX_ATTEMPTS: usize = 16;

enum Outcome {
    Gone(String),
    Waits(std::sync::Arc<Stored>),
}

/// Handles DELETE of one object.
pub(super) fn one(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let options = options(call)?;
    admission::delete(call)?;
    match remove(call, &call.path.name, &options)? {
        Outcome::Gone(uid) => {
            let mut details = json!({"name": call.path.name, "kind": resource.plural, "uid": uid});
            if let Value::Object(details) = &mut details
                && !resource.group.is_empty()
            {
                details.insert("group".into(), resource.group.into());
            }
            Ok(success(&details))
        }
        Outcome::Waits(stored) => Ok(json_bytes(
            StatusCode::OK,
            encoding::whole(resource, &stored),
        )),
    }
}

/// Handles DELETE of a collection. The response is the list of deleted objects.
pub(super) fn collection(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let options = options(call)?;
    let scope = Scope {
        namespace: call.path.namespace.clone(),
        selector: call.selector.clone(),
    };
    let page = call
        .shared
        .store
        .list(resource.plural, &scope, &PageRequest::default())
        .map_err(|_| StatusError::internal("a list of now"))?;
    for stored in &page.objects {
        let outcome = remove_key(call, &stored.key, stored.name(), &options);
        // Another client may have deleted it first.
        if let Err(failure) = outcome
            && failure.code != 404
        {
            return Err(failure);
        }
    }
    Ok(json_bytes(
        StatusCode::OK,
        read::listed(resource, &page, None),
    ))
}

fn options(call: &Call) -> Result<Map<String, Value>, StatusError> {
    if call.body.is_empty() {
        return Ok(Map::new());
    }
    let expected = Expected {
        api_version: "",
        kind: "DeleteOptions",
    };
    decode::parse(&call.content_type, &call.body, expected)
}

fn remove(call: &Call, name: &str, options: &Map<String, Value>) -> Result<Outcome, StatusError> {
    remove_key(call, &call.key(name), name, options)
}

fn remove_key(
    call: &Call,
    key: &str,
    name: &str,
    options: &Map<String, Value>,
) -> Result<Outcome, StatusError> {
    let resource = call.path.resource;
    let store = &call.shared.store;
    for _ in 0..MAX_ATTEMPTS {
        let found = store.get(resource.plural, key);
        let stored = found.ok_or_else(|| StatusError::not_found(resource, name))?;
        let mut object = stored.object();
        let uid = text(&object, &["metadata", "uid"]).to_owned();
        preconditions(call, name, options, &uid, &stored)?;
        let finalizers = at(&object, &["metadata", "finalizers"]).and_then(Value::as_array);
        let waits = finalizers.is_some_and(|list| !list.is_empty());
        if call.dry_run() {
            return Ok(Outcome::Gone(uid));
        }
        if !waits {
            match store.remove(resource.plural, key, stored.version, object) {
                Ok(_) => return Ok(Outcome::Gone(uid)),
                Err(Conflict) => continue,
            }
        }
        if at(&object, &["metadata", "deletionTimestamp"]).is_some() {
            return Ok(Outcome::Waits(stored));
        }
        metadata::of(&mut object, |metadata| {
            metadata.insert("deletionTimestamp".into(), call.shared.clock.now().into());
            metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
        });
        let expected = store::Expected::Version(stored.version);
        if let Ok(stored) = store.put(resource.plural, key, expected, object) {
            return Ok(Outcome::Waits(stored));
        }
    }
    Err(StatusError::changed(resource, name))
}

fn preconditions(
    call: &Call,
    name: &str,
    options: &Map<String, Value>,
    uid: &str,
    stored: &Stored,
) -> Result<(), StatusError> {
    let resource = call.path.resource;
    let wanted = text(options, &["preconditions", "uid"]);
    if !wanted.is_empty() && wanted != uid {
        return Err(StatusError::recreated(resource, name, wanted, uid));
    }
    let wanted = text(options, &["preconditions", "resourceVersion"]);
    if !wanted.is_empty() && wanted != stored.version.to_string() {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in \
             object meta: {}",
            stored.version
        );
        return Err(StatusError::conflict(resource, name, &why));
    }
    Ok(())
}
