//! The request pipeline: faults, authentication, authorization and dispatch to a handler.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::attributes::Attributes;
use super::authn::{self, User};
use super::authz::{self, Decision};
use super::call::{Accept, Call, Shared};
use super::faults::Fault;
use super::request_info::{self, Target};
use super::selectors::Selector;
use super::status_error::StatusError;
use super::store::Store;
use super::tls::Peer;
use super::{access_reviews, delete, discovery, read, write};

/// The limit of kube-apiserver, 3 MiB.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// Selects the first supported media type.
fn accept(headers: &HeaderMap) -> Result<Accept, StatusError> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(Accept::Json);
    };
    for range in accept.to_str().unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !["application/json", "*/*", "application/*"].contains(&media) {
            continue;
        }
        let parameters: Vec<&str> = parts.collect();
        let wanted = parameters.iter().find_map(|one| one.strip_prefix("as="));
        let v1 = parameters.contains(&"v=v1");
        match wanted {
            None => return Ok(Accept::Json),
            Some("Table") if v1 => return Ok(Accept::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if v1 => {
                return Ok(Accept::Metadata);
            }
            Some(_) => {}
        }
    }
    Err(StatusError::not_acceptable())
}

/// Serves one request.
pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let mut response = tokio::select! {
        // In this order, so that a seed decides everything in a simulation.
        biased;
        answer = handle(Arc::clone(&shared), peer, request) => {
            answer.unwrap_or_else(IntoResponse::into_response)
        }
        () = shared.until_ended() => StatusError::retry(503, "ServiceUnavailable", "the server is ending", 1)
            .into_response(),
    };
    if let Ok(date) = HeaderValue::try_from(shared.clock.date()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn handle(
    shared: Arc<Shared>,
    peer: Peer,
    request: Request,
) -> Result<Response, StatusError> {
    let (parts, body) = request.into_parts();
    let target = request_info::target(&parts.uri);
    let query = request_info::query(&parts.uri);
    let verb = request_info::verb(&parts.method, &target, &query);

    let fault = shared.injector.select(verb, parts.uri.path());
    if let Some(fault) = &fault {
        inject(&shared, fault, &target).await?;
    }

    let mut user = authn::authenticate(peer.user.as_ref(), &parts.headers, &shared.tokens)?;
    if let Some(other) = authn::impersonated(&parts.headers) {
        may_impersonate(&shared.store, &user, &other)?;
        user = Arc::new(other);
    }
    let selector = Selector::parse(
        query.get("labelSelector").map_or("", String::as_str),
        query.get("fieldSelector").map_or("", String::as_str),
    )?;
    allow(&shared.store, &user, &target, verb, &selector)?;

    match target {
        Target::Other(path) => discovery::answer(&parts, &path),
        Target::Review(kind, namespace) => {
            if verb != "create" {
                return Err(StatusError::not_allowed());
            }
            let body = read_body(body).await?;
            let review = access_reviews::read(kind, &content_type(&parts), &body)?;
            access_reviews::answer(&shared, &user, kind, &namespace, review)
        }
        Target::Resource(path) => {
            let call = Call {
                accept: accept(&parts.headers)?,
                content_type: content_type(&parts),
                body: read_body(body).await?,
                fault: fault.filter(Fault::is_watch_fault),
                shared,
                user,
                path,
                verb,
                query,
                selector,
            };
            dispatch(call)
        }
    }
}

fn dispatch(call: Call) -> Result<Response, StatusError> {
    let on_part = !call.path.subresource.is_empty();
    match call.verb {
        "get" => read::get(&call),
        "list" => read::list(&call),
        "watch" => read::watch(call),
        "create" if call.path.subresource == "token" => access_reviews::token(&call),
        "create" if call.path.name.is_empty() => write::create(&call),
        "update" if !call.path.name.is_empty() => write::update(&call),
        "patch" if !call.path.name.is_empty() => write::patch(&call),
        "delete" if !on_part => delete::one(&call),
        "deletecollection" => delete::collection(&call),
        _ => Err(StatusError::not_allowed()),
    }
}

fn content_type(parts: &Parts) -> String {
    let value = parts.headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let media = value.unwrap_or_default().split(';').next();
    media.unwrap_or_default().trim().to_ascii_lowercase()
}

async fn read_body(body: Body) -> Result<Bytes, StatusError> {
    to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| StatusError::too_large())
}

/// Applies a fault before the request is processed.
async fn inject(shared: &Shared, fault: &Fault, target: &Target) -> Result<(), StatusError> {
    match fault {
        Fault::Delay(time) => tokio::time::sleep(*time).await,
        Fault::Hang => std::future::pending().await,
        Fault::Conflict => {
            return Err(match target {
                Target::Resource(path) => StatusError::changed(path.resource, &path.name),
                Target::Review(..) | Target::Other(_) => StatusError::internal("fault on demand"),
            });
        }
        Fault::Gone => {
            return Err(StatusError::expired(
                "too old resource version: fault on demand",
            ));
        }
        Fault::NotServed => return Err(StatusError::no_such_resource()),
        Fault::TooManyRequests(after) => {
            let message = "the server has received too many requests and has asked us to try \
                           again later";
            return Err(StatusError::retry(429, "TooManyRequests", message, *after));
        }
        Fault::Internal => return Err(StatusError::internal("Internal error occurred: fault")),
        Fault::Unavailable => {
            let message = "the server is currently unable to handle the request";
            return Err(StatusError::retry(503, "ServiceUnavailable", message, 0));
        }
        Fault::Compact => shared.store.compact(),
        Fault::DropWatch(_) | Fault::Late(_) | Fault::Duplicate | Fault::Reorder => {}
    }
    Ok(())
}

fn may_impersonate(store: &Store, user: &User, other: &User) -> Result<(), StatusError> {
    let users = std::iter::once(("users", &other.name));
    let groups = other.groups.iter().map(|group| ("groups", group));
    for (resource, name) in users.chain(groups.filter(|(_, name)| *name != "system:authenticated"))
    {
        let wanted = Attributes {
            verb: "impersonate".into(),
            resource: resource.into(),
            name: name.clone(),
            ..Attributes::default()
        };
        if let Decision::Refused(reason) = authz::authorize(store, user, &wanted) {
            let why = wanted.refusal(user, &reason);
            return Err(StatusError::forbidden_path(&why));
        }
    }
    Ok(())
}

fn allow(
    store: &Store,
    user: &User,
    target: &Target,
    verb: &str,
    selector: &Selector,
) -> Result<(), StatusError> {
    let wanted = match target {
        Target::Other(path) => Attributes {
            verb: verb.into(),
            path: path.clone(),
            ..Attributes::default()
        },
        Target::Review(kind, namespace) => {
            let (plural, group) = access_reviews::place(kind);
            Attributes {
                verb: verb.into(),
                group: group.into(),
                resource: plural.into(),
                namespace: namespace.clone(),
                ..Attributes::default()
            }
        }
        Target::Resource(path) => {
            let selects = ["list", "watch", "deletecollection"].contains(&verb);
            let selected = selector.name().filter(|_| selects);
            // A namespace is in the namespace of its own name.
            let namespace = if path.resource.plural == "namespaces" {
                path.name.clone()
            } else {
                path.namespace.clone()
            };
            Attributes {
                verb: verb.into(),
                group: path.resource.group.into(),
                resource: path.resource.plural.into(),
                subresource: path.subresource.clone(),
                name: selected.unwrap_or(&path.name).to_owned(),
                namespace,
                path: String::new(),
            }
        }
    };
    let Decision::Refused(reason) = authz::authorize(store, user, &wanted) else {
        return Ok(());
    };
    let why = wanted.refusal(user, &reason);
    Err(match target {
        Target::Resource(path) => StatusError::forbidden(path.resource, &wanted.name, &why),
        Target::Review(kind, _) => {
            let (plural, group) = access_reviews::place(kind);
            StatusError::forbidden_review(plural, group, &why)
        }
        Target::Other(_) => StatusError::forbidden_path(&why),
    })
}
