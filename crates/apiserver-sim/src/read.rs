//! Get, list, and the start of a watch.

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::call::{Accept, Call};
use super::encoding;
use super::object;
use super::resources::Resource;
use super::respond::{json_bytes, json_value};
use super::status_error::{Cause, StatusError};
use super::store::{Compacted, From, Page, PageRequest, Scope};
use super::table;
use super::watch::{Bookmarks, Form, Watch};

/// The default timeout of a watch.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);

/// Handles GET of one object.
pub(super) fn get(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let key = call.key(&call.path.name);
    let found = call.shared.store.get(resource.plural, &key);
    let stored = found.ok_or_else(|| StatusError::not_found(resource, &call.path.name))?;
    Ok(match call.accept {
        Accept::Json => json_bytes(StatusCode::OK, encoding::whole(resource, &stored)),
        Accept::Table => json_value(StatusCode::OK, &table::of_one(call, &stored)),
        Accept::Metadata => json_value(StatusCode::OK, &table::metadata_of(&stored)),
    })
}

/// Returns the resourceVersion of the query, 0 if it is missing.
fn version(call: &Call) -> Result<u64, StatusError> {
    let text = call.parameter("resourceVersion");
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        StatusError::bad_request(format!(
            "invalid resource version {text:?}: expected a number"
        ))
    })
}

fn scope(call: &Call) -> Result<Scope, StatusError> {
    let resource = call.path.resource;
    let mut known = vec!["metadata.name"];
    if resource.namespaced {
        known.push("metadata.namespace");
    }
    known.extend(object::selectable(resource.plural));
    let mut selector = call.selector.clone();
    if resource.is_new_event() {
        selector = selector.renamed("regarding.", "involvedObject.");
    }
    if let Some(field) = selector.unknown_field(&known) {
        return Err(StatusError::bad_request(format!(
            "field label not supported: {field}"
        )));
    }
    Ok(Scope {
        namespace: call.path.namespace.clone(),
        selector,
    })
}

/// Handles GET of a collection.
pub(super) fn list(call: &Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let scope = scope(call)?;
    if call.query.contains_key("sendInitialEvents") {
        let cause = Cause::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        );
        return Err(StatusError::invalid_options("ListOptions", &cause));
    }
    let limit = call.parameter("limit");
    let limit: usize = if limit.is_empty() {
        0
    } else {
        limit
            .parse()
            .map_err(|_| StatusError::bad_request(format!("strconv: parsing {limit:?}")))?
    };
    let wanted = version(call)?;
    let now = call.shared.store.version();
    let exact = call.parameter("resourceVersionMatch") == "Exact";
    let token = call.parameter("continue");
    let mut page_request = PageRequest {
        limit: (limit > 0).then_some(limit),
        ..PageRequest::default()
    };
    if !token.is_empty() {
        let (version, after) = read_token(token)?;
        page_request.version = Some(version);
        page_request.after = Some(after);
    } else if exact {
        page_request.version = Some(wanted);
    }
    if wanted > now {
        let message = format!("Too large resource version: {wanted}, current: {now}");
        return Err(StatusError::retry(504, "Timeout", message, 1));
    }
    let page = call
        .shared
        .store
        .list(resource.plural, &scope, &page_request);
    let page = page.map_err(|_| {
        StatusError::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter.",
        )
    })?;
    let next = page
        .next
        .as_ref()
        .map(|after| token_for(page.version, after));
    Ok(match call.accept {
        Accept::Json => json_bytes(StatusCode::OK, listed(resource, &page, next)),
        Accept::Table => json_value(StatusCode::OK, &table::of_page(call, &page, next)),
        Accept::Metadata => {
            let items: Vec<Value> = page
                .objects
                .iter()
                .map(|stored| table::metadata_of(stored))
                .collect();
            let list = json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": encoding::list_metadata(&page, next),
                "items": items,
            });
            json_value(StatusCode::OK, &list)
        }
    })
}

/// Renders a list in JSON from the bytes of its objects.
pub(super) fn listed(resource: &Resource, page: &Page, next: Option<String>) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":{:?},\"metadata\":{},\"items\":[",
        resource.kind,
        resource.api_version(),
        encoding::list_metadata(page, next)
    );
    let mut body = head.into_bytes();
    for (index, stored) in page.objects.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&encoding::item(resource, stored));
    }
    body.extend_from_slice(b"]}");
    body
}

/// Renders a continue token, which is opaque to clients.
fn token_for(version: u64, after: &str) -> String {
    let text = json!({"v": "meta.k8s.io/v1", "rv": version, "start": after}).to_string();
    let encoded = serde_json::to_value(ByteString(text.into_bytes())).unwrap_or_default();
    encoded.as_str().unwrap_or_default().to_owned()
}

fn read_token(token: &str) -> Result<(u64, String), StatusError> {
    let wrong = || StatusError::bad_request("continue key is not valid: illegal base64 data");
    let bytes: ByteString = serde_json::from_value(token.into()).map_err(|_| wrong())?;
    let value: Value = serde_json::from_slice(&bytes.0).map_err(|_| wrong())?;
    let version = value.get("rv").and_then(Value::as_u64).ok_or_else(wrong)?;
    let start = value.get("start").and_then(Value::as_str);
    Ok((version, start.ok_or_else(wrong)?.to_owned()))
}

/// Handles GET of a collection with `watch`.
pub(super) fn watch(call: Call) -> Result<Response, StatusError> {
    let resource = call.path.resource;
    let scope = scope(&call)?;
    let initial = call.query.get("sendInitialEvents").map(String::as_str);
    let initial = initial.map(|value| value == "true" || value == "1");
    let match_rule = call.parameter("resourceVersionMatch");
    check_options(initial, match_rule)?;
    let version = version(&call).map_err(|failure| StatusError::unhandled(failure.message))?;
    let from = match initial {
        Some(true) => From::Now,
        _ if version == 0 => From::Now,
        _ => From::Version(version),
    };
    let timeout = call.parameter("timeoutSeconds").parse().unwrap_or(0);
    let lasts = if timeout > 0 {
        Duration::from_secs(timeout)
    } else {
        WATCH_TIMEOUT
    };
    let wants_bookmarks = call.is_set("allowWatchBookmarks");
    let form = match call.accept {
        Accept::Table => Form::Table(table::Included::parse(&call)),
        Accept::Json => Form::Json,
        Accept::Metadata => Form::Metadata,
    };
    let begun = call
        .shared
        .store
        .watch(resource.plural, resource.namespaced, &scope, from);
    let body = match begun {
        Ok((version, present, subscription)) => {
            let bookmarks = Bookmarks {
                wanted: wants_bookmarks,
                after_initial: wants_bookmarks && initial == Some(true),
            };
            let present = if initial == Some(false) {
                Vec::new()
            } else {
                present
            };
            let watch = Watch::new(
                resource,
                scope,
                form,
                bookmarks,
                version,
                subscription,
                call.shared.clone(),
                call.fault.clone(),
            );
            Body::from_stream(watch.stream(present, lasts))
        }
        Err(Compacted { oldest }) => {
            let failure =
                StatusError::expired(format!("too old resource version: {version} ({oldest})"));
            let event = json!({"type": "ERROR", "object": failure.status()});
            Body::from(format!("{event}\n"))
        }
    };
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::OK, headers, body).into_response())
}

fn check_options(initial: Option<bool>, match_rule: &str) -> Result<(), StatusError> {
    let refuse = |cause: &Cause| Err(StatusError::invalid_options("ListOptions", cause));
    match (initial, match_rule) {
        (Some(_), "") => refuse(&Cause::forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )),
        (Some(_), "NotOlderThan") | (None, "") => Ok(()),
        (Some(_), other) => refuse(&Cause::unsupported(
            "resourceVersionMatch",
            other,
            &["NotOlderThan"],
        )),
        (None, _) => refuse(&Cause::forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )),
    }
}
