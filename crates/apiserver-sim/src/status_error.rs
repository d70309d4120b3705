//! Error responses in the words of kube-apiserver: clients match on reason and message.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::resources::Resource;

/// A `Status` with `status: Failure`.
#[derive(Clone, Debug)]
pub(super) struct StatusError {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    details: Map<String, Value>,
}

/// One cause of a 422 Invalid.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    /// `Invalid value: VALUE: DETAIL`.
    pub(super) fn invalid(field: &str, value: &Value, detail: &str) -> Cause {
        Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {detail}"),
            field: field.into(),
        }
    }

    /// `Required value: DETAIL`.
    pub(super) fn required(field: &str, detail: &str) -> Cause {
        let colon = if detail.is_empty() { "" } else { ": " };
        Cause {
            reason: "FieldValueRequired",
            message: format!("Required value{colon}{detail}"),
            field: field.into(),
        }
    }

    /// `Forbidden: DETAIL`.
    pub(super) fn forbidden(field: &str, detail: &str) -> Cause {
        Cause {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {detail}"),
            field: field.into(),
        }
    }

    /// `Duplicate value: VALUE`.
    pub(super) fn duplicate(field: &str, value: &str) -> Cause {
        Cause {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value:?}"),
            field: field.into(),
        }
    }

    /// `Unsupported value: VALUE: supported values: …`.
    pub(super) fn unsupported(field: &str, value: &str, supported: &[&str]) -> Cause {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let supported = supported.join(", ");
        Cause {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {value:?}: supported values: {supported}"),
            field: field.into(),
        }
    }
}

impl Cause {
    fn shown(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl StatusError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> StatusError {
        StatusError {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> StatusError {
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                self.details.insert(key.into(), value.into());
            }
        };
        put("name", name);
        put("group", resource.group);
        put("kind", resource.plural);
        self
    }

    /// An error that kube-apiserver has no status for: 500 without a reason.
    pub(super) fn unhandled(message: impl Into<String>) -> StatusError {
        StatusError::new(500, "", message)
    }

    /// 409 for a deletion of an object that was re-created with another UID.
    pub(super) fn recreated(
        resource: &Resource,
        name: &str,
        wanted: &str,
        uid: &str,
    ) -> StatusError {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The \
             object might have been deleted and then recreated"
        );
        let qualified = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        let mut failure = StatusError::new(409, "Conflict", message).about(resource, name);
        failure.details.insert("kind".into(), resource.kind.into());
        failure
    }

    /// 422 for an update without the required resourceVersion.
    pub(super) fn unversioned(resource: &Resource, name: &str) -> StatusError {
        let field = "metadata.resourceVersion";
        let cause = Cause::invalid(field, &"".into(), "must be specified for an update");
        let mut failure = StatusError::invalid(resource, name, vec![cause]);
        failure.message = failure.message.replacen(resource.kind, resource.plural, 1);
        failure
            .details
            .insert("kind".into(), resource.plural.into());
        failure
    }

    /// 401.
    pub(super) fn unauthorized() -> StatusError {
        StatusError::new(401, "Unauthorized", "Unauthorized")
    }

    /// 404 for a missing object.
    pub(super) fn not_found(resource: &Resource, name: &str) -> StatusError {
        let message = format!("{} {name:?} not found", resource.qualified());
        StatusError::new(404, "NotFound", message).about(resource, name)
    }

    /// 409 for a name that exists.
    pub(super) fn exists(resource: &Resource, name: &str) -> StatusError {
        let message = format!("{} {name:?} already exists", resource.qualified());
        StatusError::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 409 for a resourceVersion or UID that has changed.
    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> StatusError {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        StatusError::new(409, "Conflict", message).about(resource, name)
    }

    /// 409 with the usual message of an update conflict.
    pub(super) fn changed(resource: &Resource, name: &str) -> StatusError {
        StatusError::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// 403.
    pub(super) fn forbidden(resource: &Resource, name: &str, why: &str) -> StatusError {
        let of = if name.is_empty() {
            String::new()
        } else {
            format!(" {name:?}")
        };
        let message = format!("{}{of} is forbidden: {why}", resource.qualified());
        StatusError::new(403, "Forbidden", message).about(resource, name)
    }

    /// 403 for a review.
    pub(super) fn forbidden_review(plural: &str, group: &str, why: &str) -> StatusError {
        let message = format!("{plural}.{group} is forbidden: {why}");
        let mut failure = StatusError::new(403, "Forbidden", message);
        failure.details.insert("group".into(), group.into());
        failure.details.insert("kind".into(), plural.into());
        failure
    }

    /// 403 for a non-resource path.
    pub(super) fn forbidden_path(why: &str) -> StatusError {
        StatusError::new(403, "Forbidden", format!("forbidden: {why}"))
    }

    /// 422.
    pub(super) fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> StatusError {
        let group = if resource.group.is_empty() {
            String::new()
        } else {
            format!(".{}", resource.group)
        };
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let list = match texts.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!("{}{group} {name:?} is invalid: {list}", resource.kind);
        let mut failure = StatusError::new(422, "Invalid", message).about(resource, name);
        failure.details.insert("kind".into(), resource.kind.into());
        let causes: Vec<Value> = causes.iter().map(Cause::shown).collect();
        failure.details.insert("causes".into(), causes.into());
        failure
    }

    /// 422 for the options of a request.
    pub(super) fn invalid_options(kind: &str, cause: &Cause) -> StatusError {
        let message = format!(
            "{kind}.meta.k8s.io \"\" is invalid: {}: {}",
            cause.field, cause.message
        );
        let mut failure = StatusError::new(422, "Invalid", message);
        failure.details.insert("kind".into(), kind.into());
        failure.details.insert("group".into(), "meta.k8s.io".into());
        failure
            .details
            .insert("causes".into(), json!([cause.shown()]));
        failure
    }

    /// 400.
    pub(super) fn bad_request(message: impl Into<String>) -> StatusError {
        StatusError::new(400, "BadRequest", message)
    }

    /// 400 for an object of another type.
    pub(super) fn of_other_type(resource: &Resource, why: &str) -> StatusError {
        let Resource { kind, version, .. } = resource;
        StatusError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))
    }

    /// 422 for a patch of unknown fields.
    pub(super) fn strict_patch(patch: &str, why: &str) -> StatusError {
        let cause = Cause::invalid("patch", &patch.into(), why);
        let message = format!(" \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut failure = StatusError::new(422, "Invalid", message);
        failure
            .details
            .insert("causes".into(), json!([cause.shown()]));
        failure
    }

    /// 422 for a patch that cannot be applied.
    pub(super) fn unprocessable(message: impl Into<String>) -> StatusError {
        StatusError::new(422, "Invalid", message)
    }

    /// 404 for a path that is not served.
    pub(super) fn no_such_resource() -> StatusError {
        StatusError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 405.
    pub(super) fn not_allowed() -> StatusError {
        StatusError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 406.
    pub(super) fn not_acceptable() -> StatusError {
        StatusError::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, \
             application/json;stream=watch",
        )
    }

    /// 415.
    pub(super) fn unsupported_media_type(accepted: &str) -> StatusError {
        StatusError::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 {accepted}"
            ),
        )
    }

    /// 415 for a body in an unknown format.
    pub(super) fn unsupported_body() -> StatusError {
        StatusError::unsupported_media_type(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    }

    /// 410.
    pub(super) fn expired(message: impl Into<String>) -> StatusError {
        StatusError::new(410, "Expired", message)
    }

    /// 413.
    pub(super) fn too_large() -> StatusError {
        StatusError::new(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )
    }

    /// 429, 503 or 504, to be retried after the given seconds.
    pub(super) fn retry(
        code: u16,
        reason: &'static str,
        message: impl Into<String>,
        after: u32,
    ) -> StatusError {
        let mut failure = StatusError::new(code, reason, message);
        if after > 0 {
            failure
                .details
                .insert("retryAfterSeconds".into(), after.into());
        }
        failure
    }

    /// 500.
    pub(super) fn internal(message: impl Into<String>) -> StatusError {
        StatusError::new(500, "InternalError", message)
    }

    /// Renders the `Status` object.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if self.reason.is_empty()
            && let Some(map) = status.as_object_mut()
        {
            map.remove("reason");
        }
        if !self.details.is_empty()
            && let Some(map) = status.as_object_mut()
        {
            map.insert("details".into(), self.details.clone().into());
        }
        status
    }
}

impl IntoResponse for StatusError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = self.status().to_string();
        let mut response =
            (code, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let after = self.details.get("retryAfterSeconds");
        if let Some(after) = after.and_then(Value::as_u64) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, after.into());
        }
        response
    }
}
