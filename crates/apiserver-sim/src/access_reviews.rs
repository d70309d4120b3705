//! Access reviews, token reviews, and tokens for service accounts.

use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::authn::User;
use super::authz::{self, Decision};
use super::call::{Call, Shared};
use super::object::{at, text};
use super::protobuf::Expected;
use super::resources::REVIEWS;
use super::respond::json_value;
use super::status_error::StatusError;
use super::store::Store;
use super::{attributes, decode, metadata, rbac};

/// Returns the plural and the group of a kind of review.
pub(super) fn place(kind: &str) -> (&'static str, &'static str) {
    let found = REVIEWS.iter().find(|(one, _, _, _)| *one == kind);
    found.map_or(("", ""), |(_, plural, group, _)| (*plural, *group))
}

/// Reads the spec of the review in a request body.
pub(super) fn read(
    kind: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Map<String, Value>, StatusError> {
    let (_, group) = place(kind);
    let expected = Expected {
        api_version: &format!("{group}/v1"),
        kind,
    };
    decode::parse(content_type, body, expected)
}

pub(super) fn answer(
    shared: &Shared,
    user: &User,
    kind: &'static str,
    namespace: &str,
    mut review: Map<String, Value>,
) -> Result<Response, StatusError> {
    let store = &shared.store;
    let (_, group) = place(kind);
    let spec = review.get("spec").cloned().unwrap_or_else(|| json!({}));
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": identity(user)}),
        "SelfSubjectRulesReview" => {
            let namespace = text(&review, &["spec", "namespace"]);
            if namespace.is_empty() {
                return Err(StatusError::bad_request("no namespace on request"));
            }
            rules(store, user, namespace)
        }
        "SelfSubjectAccessReview" => status(store, user, &spec),
        "TokenReview" => match shared.tokens.user(text(&review, &["spec", "token"])) {
            Some(user) => json!({"authenticated": true, "user": identity(&user)}),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        },
        _ => {
            let asked = text(&review, &["spec", "user"]);
            let groups = at(&review, &["spec", "groups"]).and_then(Value::as_array);
            let groups: Vec<&str> = groups
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if asked.is_empty() && groups.is_empty() {
                return Err(StatusError::bad_request(
                    "spec: expected at least one of user or group",
                ));
            }
            let mut other = User::new(asked, &groups);
            // The groups of a review are exactly those that it names.
            other.groups.pop();
            let place = at(&review, &["spec", "resourceAttributes", "namespace"]);
            if !namespace.is_empty() && place.and_then(Value::as_str) != Some(namespace) {
                return Err(StatusError::bad_request(
                    "spec.resourceAttributes.namespace must match the namespace of the request",
                ));
            }
            status(store, &other, &spec)
        }
    };
    review.insert("kind".into(), kind.into());
    review.insert("apiVersion".into(), format!("{group}/v1").into());
    review.insert("status".into(), status);
    Ok(json_value(StatusCode::CREATED, &Value::Object(review)))
}

fn identity(user: &User) -> Value {
    json!({
        "username": user.name,
        "uid": user.uid,
        "groups": user.groups,
        "extra": user.extra,
    })
}

/// Lists the rules that apply to a user. The node authorizer has no rules to list.
fn rules(store: &Store, user: &User, namespace: &str) -> Value {
    let rules = rbac::rules(store, user, namespace);
    let (of_paths, of_resources): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(rbac::Rule::is_of_paths);
    let mut status = json!({
        "resourceRules": of_resources,
        "nonResourceRules": of_paths,
        "incomplete": false,
    });
    if user.node().is_some()
        && let Value::Object(status) = &mut status
    {
        status.insert("incomplete".into(), true.into());
        let why = "node authorizer does not support user rule resolution";
        status.insert("evaluationError".into(), why.into());
    }
    status
}

fn status(store: &Store, user: &User, spec: &Value) -> Value {
    match authz::authorize(store, user, &attributes::of_review(spec)) {
        Decision::Allowed => json!({"allowed": true}),
        Decision::Refused(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::Refused(reason) => json!({"allowed": false, "reason": reason}),
    }
}

/// POST `serviceaccounts/NAME/token`.
pub(super) fn token(call: &Call) -> Result<Response, StatusError> {
    const TOKEN_SECONDS: i64 = 3600;
    let resource = call.path.resource;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let found = call.shared.store.get(resource.plural, &call.key(name));
    let account = found.ok_or_else(|| StatusError::not_found(resource, name))?;
    let expected = Expected {
        api_version: "authentication.k8s.io/v1",
        kind: "TokenRequest",
    };
    let mut request = decode::parse(&call.content_type, &call.body, expected)?;
    let seconds = at(&request, &["spec", "expirationSeconds"])
        .and_then(Value::as_i64)
        .unwrap_or(TOKEN_SECONDS);
    let all = format!("system:serviceaccounts:{namespace}");
    let groups = ["system:serviceaccounts", all.as_str()];
    let mut user = User::new(
        &format!("system:serviceaccount:{namespace}:{name}"),
        &groups,
    );
    user.uid = text(&account.object(), &["metadata", "uid"]).to_owned();
    let credential = format!("JTI={}", metadata::uid(&call.shared.entropy));
    user.extra.insert(
        "authentication.kubernetes.io/credential-id".into(),
        vec![credential],
    );
    let expires = Timestamp::now()
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    request.insert("kind".into(), "TokenRequest".into());
    request.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
    request.insert(
        "status".into(),
        json!({
            "token": call.shared.tokens.issue(user),
            "expirationTimestamp": expires.to_string(),
        }),
    );
    Ok(json_value(StatusCode::CREATED, &Value::Object(request)))
}
