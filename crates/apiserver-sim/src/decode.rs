//! Decoding of request bodies: from bytes to an object of its type, in its stored form.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::field_validation::{self, Validation};
use super::object::text;
use super::protobuf::{self, Expected};
use super::resources::Resource;
use super::status_error::StatusError;
use super::{events, metadata};

/// A decoded object, without unknown fields.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) object: Map<String, Value>,
    /// Warnings for the client.
    pub(super) warnings: Vec<String>,
}

/// Parses a body as a JSON object.
pub(super) fn parse(
    content_type: &str,
    body: &[u8],
    expected: Expected<'_>,
) -> Result<Map<String, Value>, StatusError> {
    let value: Value = match content_type {
        "" | "application/json" => serde_json::from_slice(body).map_err(|error| {
            StatusError::bad_request(format!("the object provided is unrecognized: {error}"))
        })?,
        "application/yaml" => yaml(body)?,
        protobuf::MEDIA_TYPE => return protobuf::read(body, expected),
        _ => return Err(StatusError::unsupported_body()),
    };
    if let Value::Object(object) = value {
        Ok(object)
    } else {
        Err(StatusError::bad_request(
            "the object provided is unrecognized: expected a JSON object",
        ))
    }
}

fn yaml(body: &[u8]) -> Result<Value, StatusError> {
    let wrong = |error: String| StatusError::bad_request(format!("error decoding YAML: {error}"));
    let text = std::str::from_utf8(body).map_err(|error| wrong(error.to_string()))?;
    serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// Decodes the object in the body of a create or an update.
pub(super) fn read(call: &Call) -> Result<Typed, StatusError> {
    let api_version = call.path.resource.api_version();
    let expected = Expected {
        api_version: &api_version,
        kind: call.path.resource.kind,
    };
    let validation = Validation::parse(call)?;
    let object = parse(&call.content_type, &call.body, expected)?;
    match call.content_type.as_str() {
        // Protobuf has no field names that could be unknown.
        protobuf::MEDIA_TYPE => check(call, Validation::Ignore, object, Vec::new()),
        // Duplicate fields were rejected before.
        "application/yaml" => check(call, validation, object, Vec::new()),
        _ if validation == Validation::Ignore => check(call, validation, object, Vec::new()),
        _ => {
            let twice = field_validation::duplicates(&call.body).into_iter();
            let twice = twice.map(|path| format!("duplicate field {path:?}"));
            check(call, validation, object, twice.collect())
        }
    }
}

/// Decodes the object of a server-side apply. Unknown fields are always rejected.
pub(super) fn applied(call: &Call) -> Result<Map<String, Value>, StatusError> {
    let resource = call.path.resource;
    let api_version = resource.api_version();
    let expected = Expected {
        api_version: &api_version,
        kind: resource.kind,
    };
    let object = parse("application/yaml", &call.body, expected)?;
    let unknown = field_validation::unknown(&object, &canonical(resource, object.clone())?);
    if unknown.is_empty() {
        return Ok(object);
    }
    let said = |key| text(&object, &["metadata", key]);
    let place = format!("{}/{}", said("namespace"), said("name"));
    let group = format!("{}/{}", resource.group, resource.version);
    let undeclared: Vec<String> = unknown
        .iter()
        .map(|path| format!(".{path}: field not declared in schema"))
        .collect();
    let undeclared = match undeclared.as_slice() {
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    Err(StatusError::unhandled(format!(
        "failed to create typed patch object ({place}; {group}, Kind={}): {undeclared}",
        resource.kind
    )))
}

/// Decodes the result of a patch.
pub(super) fn patched(call: &Call, object: Map<String, Value>) -> Result<Typed, StatusError> {
    check(call, Validation::parse(call)?, object, Vec::new())
}

fn check(
    call: &Call,
    validation: Validation,
    given: Map<String, Value>,
    mut complaints: Vec<String>,
) -> Result<Typed, StatusError> {
    let resource = call.path.resource;
    let canonical = canonical(resource, given.clone())?;
    let warnings = match validation {
        Validation::Ignore => Vec::new(),
        Validation::Warn | Validation::Strict => {
            let unknown = field_validation::unknown(&given, &canonical);
            complaints.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
            complaints
        }
    };
    if validation == Validation::Strict && !warnings.is_empty() {
        let why = format!("strict decoding error: {}", warnings.join(", "));
        return Err(if call.verb == "patch" {
            StatusError::strict_patch(&String::from_utf8_lossy(&call.body), &why)
        } else {
            StatusError::of_other_type(resource, &why)
        });
    }
    Ok(Typed {
        object: stored(resource, canonical),
        warnings,
    })
}

/// Returns the canonical form of the type, with its kind.
fn canonical(
    resource: &Resource,
    mut object: Map<String, Value>,
) -> Result<Map<String, Value>, StatusError> {
    let api_version = resource.api_version();
    for (field, expected) in [("kind", resource.kind), ("apiVersion", &api_version)] {
        let found = text(&object, &[field]);
        if !found.is_empty() && found != expected {
            let why = format!("expected {field} {expected:?}, found {found:?}");
            return Err(StatusError::of_other_type(resource, &why));
        }
        object.insert(field.into(), expected.into());
    }
    let canonical = (resource.canonical)(Value::Object(object))
        .map_err(|error| StatusError::of_other_type(resource, &error.to_string()))?;
    match canonical {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(StatusError::internal("a type that is no object"))
        }
    }
}

fn stored(resource: &Resource, mut object: Map<String, Value>) -> Map<String, Value> {
    object.remove("kind");
    object.remove("apiVersion");
    if resource.is_new_event() {
        object = events::to_core_v1(object);
    }
    defaults(resource, &mut object);
    object
}

/// Sets the defaults that kube-apiserver sets.
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
        "Secret" => secret(object),
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

/// Sets the default type of a Secret, and moves `stringData` to `data`.
fn secret(object: &mut Map<String, Value>) {
    object.entry("type").or_insert_with(|| "Opaque".into());
    let Some(Value::Object(texts)) = object.remove("stringData") else {
        return;
    };
    if let Value::Object(data) = object.entry("data").or_insert_with(|| json!({})) {
        for (key, text) in texts {
            let bytes = text.as_str().unwrap_or_default().as_bytes().to_owned();
            data.insert(key, json!(ByteString(bytes)));
        }
    }
}
