//! Decoding of protobuf bodies, as typed clients send them (`pkg/runtime/serializer/protobuf` of
//! apimachinery).
//!
//! A body is `k8s\0` and an envelope with the object, which is decoded to JSON. Messages have the
//! names and numbers of `generated.proto` in Kubernetes.
//!
//! Only requests, reviews, token requests and DeleteOptions are decoded: typed clients send no
//! other kind to this server. Any other kind gets 415, as from kube-apiserver for kinds without
//! messages.

mod access_reviews;
mod certificates;
mod meta;
mod values;

use k8s_openapi::ByteString;
use prost::Message;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::status_error::StatusError;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const PREFIX: &[u8] = b"k8s\0";

/// Declares messages: `NAME { FIELD: TYPE = (KIND, tag = "NUMBER"); }`. Empty fields are omitted as
/// in Go's JSON. An optional field is an `Option`.
macro_rules! messages {
    ($($message:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty = ($($kind:tt)+);)*
    })*) => {$(
        #[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $message {$(
            $(#[$attribute])*
            #[prost($($kind)+)]
            #[serde(skip_serializing_if = "super::is_default")]
            $field: $type,
        )*}
    )*};
}
use messages;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    ByteString(bytes.to_owned()).serialize(serializer)
}

/// `runtime.Unknown`: the type, and the object as bytes.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// The expected type of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// Empty for any version.
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
}

/// Decodes a body to JSON.
pub(super) fn read(body: &[u8], expected: Expected<'_>) -> Result<Map<String, Value>, StatusError> {
    let unrecognized = |why: &str| {
        StatusError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why}",
            expected.kind
        ))
    };
    let envelope = match body.strip_prefix(PREFIX) {
        None => {
            let prefix = PREFIX.escape_ascii();
            return Err(unrecognized(&format!(
                "provided data does not appear to be a protobuf message, expected prefix {prefix}"
            )));
        }
        Some([]) => return Err(unrecognized("empty body")),
        Some(rest) => Envelope::decode(rest).map_err(|error| unrecognized(&error.to_string()))?,
    };
    let TypeMeta {
        mut api_version,
        mut kind,
    } = envelope.type_meta.unwrap_or_default();
    if api_version.is_empty() {
        expected.api_version.clone_into(&mut api_version);
    }
    if kind.is_empty() {
        expected.kind.clone_into(&mut kind);
    }
    let any_version = expected.api_version.is_empty();
    if kind != expected.kind || !any_version && api_version != expected.api_version {
        return Err(StatusError::bad_request(format!(
            "{kind} in version {api_version:?} cannot be handled as a {}",
            expected.kind
        )));
    }
    let decode = message(&api_version, &kind)
        .ok_or_else(|| StatusError::unsupported_media_type("application/json, application/yaml"))?;
    let object = decode(&envelope.raw).map_err(|why| {
        StatusError::bad_request(format!(
            "{kind} in version {api_version:?} cannot be handled as a {kind}: {why}"
        ))
    })?;
    let Value::Object(mut object) = object else {
        return Err(StatusError::internal("a message that is no object"));
    };
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    Ok(object)
}

type Decode = fn(&[u8]) -> Result<Value, String>;

fn json<M: Message + Default + Serialize>(bytes: &[u8]) -> Result<Value, String> {
    let message = M::decode(bytes).map_err(|error| error.to_string())?;
    serde_json::to_value(message).map_err(|error| error.to_string())
}

/// Returns the decoder for a kind, if it is supported.
fn message(api_version: &str, kind: &str) -> Option<Decode> {
    if kind == "DeleteOptions" {
        return Some(json::<meta::DeleteOptions>);
    }
    Some(match (api_version, kind) {
        ("authentication.k8s.io/v1", "SelfSubjectReview") => {
            json::<access_reviews::SelfSubjectReview>
        }
        ("authentication.k8s.io/v1", "TokenRequest") => json::<access_reviews::TokenRequest>,
        ("authentication.k8s.io/v1", "TokenReview") => json::<access_reviews::TokenReview>,
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview" | "SubjectAccessReview") => {
            json::<access_reviews::SubjectAccessReview>
        }
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => {
            json::<access_reviews::SelfSubjectAccessReview>
        }
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => {
            json::<access_reviews::SelfSubjectRulesReview>
        }
        ("certificates.k8s.io/v1", "CertificateSigningRequest") => {
            json::<certificates::CertificateSigningRequest>
        }
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
