//! Parsing of the method and URL of a request (`RequestInfo` in kube-apiserver).

use std::collections::BTreeMap;

use axum::http::{Method, Uri};

use super::resources::{self, REVIEWS, Resource};

/// The parsed path of a resource request.
#[derive(Clone, Debug)]
pub(super) struct ResourcePath {
    pub(super) resource: &'static Resource,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub(super) namespace: String,
    /// Empty for the collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

/// The target of a request path.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Resource(ResourcePath),
    /// A review, with its kind and the namespace of a local one.
    Review(&'static str, String),
    /// A non-resource path: `/version`, `/healthz`, discovery and others.
    Other(String),
}

/// Query parameters. Of a repeated parameter, the first value counts.
pub(super) type Query = BTreeMap<String, String>;

pub(super) fn query(uri: &Uri) -> Query {
    let mut query = Query::new();
    for pair in uri.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !key.is_empty() {
            query.entry(decode(key)).or_insert_with(|| decode(value));
        }
    }
    query
}

/// Decodes percent-encoding, with `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                if let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next())) {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = ahead;
                } else {
                    bytes.push(byte);
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Decodes a path segment, in which `+` is literal.
fn segment(text: &str) -> String {
    decode(&text.replace('+', "%2B"))
}

pub(super) fn target(uri: &Uri) -> Target {
    resource(uri.path()).unwrap_or_else(|| Target::Other(uri.path().to_owned()))
}

fn resource(path: &str) -> Option<Target> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(segment).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        // The namespace object itself, and its status.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return None,
    };
    if let Some((kind, _, _, _)) = REVIEWS
        .iter()
        .find(|(_, one, of, _)| *one == plural && *of == group && version == "v1")
        && name.is_empty()
    {
        return Some(Target::Review(kind, namespace.to_owned()));
    }
    let resource = resources::find(group, version, plural)?;
    let misplaced = !resource.namespaced && !namespace.is_empty()
        || resource.namespaced && namespace.is_empty() && !name.is_empty()
        || !subresource.is_empty() && !resource.has(subresource);
    (!misplaced).then(|| {
        Target::Resource(ResourcePath {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    })
}

/// Returns the API verb for a method.
pub(super) fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    let on_collection = matches!(target, Target::Resource(path) if path.name.is_empty());
    let watches = query
        .get("watch")
        .is_some_and(|value| value != "false" && value != "0");
    match (method.as_str(), on_collection) {
        ("GET" | "HEAD", true) if watches => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match target(&path.parse().unwrap()) {
            Target::Resource(path) => format!(
                "{} [{}] [{}] [{}]",
                path.resource.qualified(),
                path.namespace,
                path.name,
                path.subresource
            ),
            Target::Review(kind, namespace) => format!("{kind} [{namespace}]"),
            Target::Other(path) => path,
        }
    }

    #[test]
    fn addresses_are_read_as_the_original_does() {
        for (path, expected) in [
            ("/api/v1/nodes", "nodes [] [] []"),
            ("/api/v1/nodes/n-1/status", "nodes [] [n-1] [status]"),
            ("/api/v1/namespaces", "namespaces [] [] []"),
            ("/api/v1/namespaces/a", "namespaces [] [a] []"),
            ("/api/v1/namespaces/a/status", "namespaces [] [a] [status]"),
            ("/api/v1/namespaces/a/events", "events [a] [] []"),
            ("/api/v1/namespaces/a/services/b", "services [a] [b] []"),
            (
                "/apis/certificates.k8s.io/v1/certificatesigningrequests/a%3Ab/approval",
                "certificatesigningrequests.certificates.k8s.io [] [a:b] [approval]",
            ),
            (
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "SelfSubjectAccessReview []",
            ),
            ("/apis/apps/v1", "/apis/apps/v1"),
            (
                "/api/v1/namespaces/a/nodes/b",
                "/api/v1/namespaces/a/nodes/b",
            ),
            ("/api/v1/services/b", "/api/v1/services/b"),
            ("/api/v1/nodes/b/approval", "/api/v1/nodes/b/approval"),
            ("/version", "/version"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
        let query = query(&"/x?a=1%2C2&b=c+d&a=3&e".parse().unwrap());
        assert_eq!(query.get("a").unwrap(), "1,2");
        assert_eq!(query.get("b").unwrap(), "c d");
        assert_eq!(query.get("e").unwrap(), "");
    }
}
