//! Discovery, version and health endpoints.

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::resources::{RESOURCES, REVIEWS, Resource};
use super::respond::json_value;
use super::status_error::StatusError;

/// The minor version of the served API.
const MINOR: &str = "36";
const GIT_VERSION: &str = "v1.36.2-csr-warden";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const OPENAPI: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// An OpenAPI document that describes nothing: `swagger: "2.0"` in protobuf, the only format that
/// kubectl reads. Without a document, `kubectl create` and `kubectl apply` need `--validate=false`.
/// With this one, kubectl leaves field validation to the server.
const EMPTY_OPENAPI: &[u8] = b"\x0a\x032.0";
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Answers a request for a non-resource path.
pub(super) fn answer(parts: &Parts, path: &str) -> Result<Response, StatusError> {
    if parts.method != "GET" && parts.method != "HEAD" {
        return Err(StatusError::no_such_resource());
    }
    let accept = parts.headers.get(header::ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2");
    let ok = |value: &Value| Ok(json_value(StatusCode::OK, value));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz"] => Ok("ok".into_response()),
        ["version"] => ok(&json!({
            "major": "1",
            "minor": MINOR,
            "gitVersion": GIT_VERSION,
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": "linux/amd64",
        })),
        ["api"] if aggregated => Ok(aggregate(&[""])),
        ["apis"] if aggregated => Ok(aggregate(&groups())),
        ["api"] => ok(&json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] if groups().contains(name) => {
            let mut group = group(name);
            if let Value::Object(group) = &mut group {
                group.insert("kind".into(), "APIGroup".into());
                group.insert("apiVersion".into(), "v1".into());
            }
            ok(&group)
        }
        ["api", "v1"] => ok(&resource_list("")),
        ["apis", name, "v1"] if groups().contains(name) => ok(&resource_list(name)),
        ["openapi", "v2"] => {
            let headers = [(header::CONTENT_TYPE, OPENAPI)];
            Ok((StatusCode::OK, headers, EMPTY_OPENAPI).into_response())
        }
        _ => Ok(not_found()),
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// Returns all groups but the core group, in the order of the resources.
fn groups() -> Vec<&'static str> {
    let resources = RESOURCES.iter().map(|resource| resource.group);
    let reviews = REVIEWS.iter().map(|(_, _, group, _)| *group);
    let mut groups: Vec<&str> = resources.chain(reviews).filter(|g| !g.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn of_group(group: &str) -> impl Iterator<Item = &'static Resource> {
    RESOURCES
        .iter()
        .filter(move |resource| resource.group == group)
}

fn resource_list(group: &str) -> Value {
    let mut resources = Vec::new();
    for resource in of_group(group) {
        let entry = |name: &str, kind: &str, verbs: &[&str]| {
            json!({
                "name": name,
                "singularName": if name == resource.plural { resource.singular } else { "" },
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            })
        };
        let mut whole = entry(resource.plural, resource.kind, &VERBS);
        if let Value::Object(whole) = &mut whole
            && !resource.short.is_empty()
        {
            whole.insert("shortNames".into(), json!(resource.short));
        }
        resources.push(whole);
        for part in resource.subresources {
            let name = format!("{}/{part}", resource.plural);
            let (kind, verbs) = part_of(resource, part);
            resources.push(entry(&name, kind, verbs));
        }
    }
    for (kind, plural, _, namespaced) in reviews_of(group) {
        resources.push(json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": ["create"],
        }));
    }
    let version = if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": resources,
    })
}

fn reviews_of(
    group: &str,
) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str, bool)> {
    REVIEWS.iter().filter(move |(_, _, of, _)| *of == group)
}

fn part_of(resource: &Resource, part: &str) -> (&'static str, &'static [&'static str]) {
    if part == "token" {
        ("TokenRequest", &["create"])
    } else {
        let kind = RESOURCES
            .iter()
            .find(|one| std::ptr::eq(*one, resource))
            .map_or("", |one| one.kind);
        (kind, &["get", "patch", "update"])
    }
}

/// Renders the aggregated discovery document of these groups.
fn aggregate(groups: &[&'static str]) -> Response {
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(group)).collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let headers = [(header::CONTENT_TYPE, AGGREGATED)];
    (StatusCode::OK, headers, body.to_string()).into_response()
}

fn aggregated_group(group: &'static str) -> Value {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let kind_of = |kind: &str| json!({"group": group, "version": "v1", "kind": kind});
    let mut resources = Vec::new();
    for resource in of_group(group) {
        let parts: Vec<Value> = resource
            .subresources
            .iter()
            .map(|part| {
                let (kind, verbs) = part_of(resource, part);
                json!({"subresource": part, "responseKind": kind_of(kind), "verbs": verbs})
            })
            .collect();
        resources.push(json!({
            "resource": resource.plural,
            "responseKind": kind_of(resource.kind),
            "scope": scope(resource.namespaced),
            "singularResource": resource.singular,
            "verbs": VERBS,
            "shortNames": resource.short,
            "subresources": parts,
        }));
    }
    for (kind, plural, _, namespaced) in reviews_of(group) {
        resources.push(json!({
            "resource": plural,
            "responseKind": kind_of(kind),
            "scope": scope(*namespaced),
            "singularResource": kind.to_lowercase(),
            "verbs": ["create"],
        }));
    }
    let version = json!({"version": "v1", "freshness": "Current", "resources": resources});
    let metadata = if group.is_empty() {
        json!({})
    } else {
        json!({"name": group})
    };
    json!({"metadata": metadata, "versions": [version]})
}
