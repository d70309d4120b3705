//! The `metadata` of objects: fields that the server sets, and validation.

use serde_json::{Map, Value};

use super::call::Shared;
use super::entropy::Entropy;
use super::object::{at, text};
use super::resources::Resource;
use super::status_error::{Cause, StatusError};

/// The alphabet of generated names (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// The maximum length of the prefix of a generated name, in bytes.
const MAX_PREFIX_LENGTH: usize = 58;

/// Returns random hexadecimal text of this length.
pub(super) fn random_hex(entropy: &Entropy, length: usize) -> String {
    entropy
        .bytes(length)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns a random UUID (RFC 9562, version 4).
pub(super) fn uid(entropy: &Entropy) -> String {
    let mut bytes = entropy.bytes(16);
    if let Some(byte) = bytes.get_mut(6) {
        *byte = *byte & 0x0f | 0x40;
    }
    if let Some(byte) = bytes.get_mut(8) {
        *byte = *byte & 0x3f | 0x80;
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// Changes `metadata`, which is created if it is missing.
pub(super) fn of(object: &mut Map<String, Value>, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut metadata = match object.remove("metadata") {
        Some(Value::Object(map)) => map,
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | None => Map::new(),
    };
    change(&mut metadata);
    object.insert("metadata".into(), Value::Object(metadata));
}

/// Generates a name from `generateName`.
pub(super) fn generated(entropy: &Entropy, prefix: &str) -> String {
    let prefix: String = prefix.chars().take(MAX_PREFIX_LENGTH).collect();
    let letter = |byte: u8| {
        let index = usize::from(byte) % ALPHABET.len();
        ALPHABET.get(index).copied().map_or('x', char::from)
    };
    let end: String = entropy
        .bytes(SUFFIX_LENGTH)
        .into_iter()
        .map(letter)
        .collect();
    prefix + &end
}

/// Completes the metadata of a new object and returns its name.
pub(super) fn created(
    resource: &Resource,
    namespace: &str,
    object: &mut Map<String, Value>,
    shared: &Shared,
) -> Result<String, StatusError> {
    if !text(object, &["metadata", "resourceVersion"]).is_empty() {
        return Err(StatusError::unhandled(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let mut name = text(object, &["metadata", "name"]).to_owned();
    let prefix = text(object, &["metadata", "generateName"]).to_owned();
    if name.is_empty() && prefix.is_empty() {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(StatusError::invalid(resource, "", vec![cause]));
    }
    if name.is_empty() {
        name = generated(&shared.entropy, &prefix);
    }
    in_namespace(resource, namespace, object)?;
    of(object, |metadata| {
        metadata.insert("name".into(), name.clone().into());
        metadata.insert("uid".into(), uid(&shared.entropy).into());
        metadata.insert("creationTimestamp".into(), shared.clock.now().into());
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            metadata.remove(key);
        }
        remove_server_fields(metadata);
    });
    check_name(resource, &name)?;
    Ok(name)
}

/// Sets the namespace of the URL. A different one in the object is an error.
pub(super) fn in_namespace(
    resource: &Resource,
    namespace: &str,
    object: &mut Map<String, Value>,
) -> Result<(), StatusError> {
    if !resource.namespaced {
        of(object, |metadata| {
            metadata.remove("namespace");
        });
        return Ok(());
    }
    let found = text(object, &["metadata", "namespace"]);
    if !found.is_empty() && found != namespace {
        return Err(StatusError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    of(object, |metadata| {
        metadata.insert("namespace".into(), namespace.into());
    });
    Ok(())
}

/// Checks that the name in an update is the name in the URL.
pub(super) fn same_name(name: &str, object: &Map<String, Value>) -> Result<(), StatusError> {
    let given = text(object, &["metadata", "name"]);
    if given == name {
        return Ok(());
    }
    Err(StatusError::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({name})"
    )))
}

/// Sets the immutable metadata of an update from the stored object.
pub(super) fn updated(
    resource: &Resource,
    name: &str,
    old: &Map<String, Value>,
    new: &mut Map<String, Value>,
) -> Result<(), StatusError> {
    same_name(name, new)?;
    let old_uid = text(old, &["metadata", "uid"]).to_owned();
    let given = text(new, &["metadata", "uid"]).to_owned();
    if !given.is_empty() && given != old_uid {
        let storage = if resource.plural == "nodes" {
            "minions"
        } else {
            resource.plural
        };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{storage}/{name}, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: \
             {given}, UID in object meta: {old_uid}"
        );
        return Err(StatusError::conflict(resource, name, &why));
    }
    let kept = [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let values: Vec<Option<Value>> = kept
        .iter()
        .map(|key| at(old, &["metadata", key]).cloned())
        .collect();
    of(new, |metadata| {
        remove_server_fields(metadata);
        for (key, value) in kept.into_iter().zip(values) {
            match value {
                Some(value) => metadata.insert(key.into(), value),
                None => metadata.remove(key),
            };
        }
    });
    Ok(())
}

/// Removes the fields that record owners, which are not kept here.
fn remove_server_fields(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    metadata.remove("selfLink");
}

fn check_name(resource: &Resource, name: &str) -> Result<(), StatusError> {
    let refuse = |detail: &str| {
        let cause = Cause::invalid("metadata.name", &name.into(), detail);
        Err(StatusError::invalid(resource, name, vec![cause]))
    };
    // These groups accept any name that fits into a URL.
    let free = ["certificates.k8s.io", "rbac.authorization.k8s.io"].contains(&resource.group);
    if free {
        if name.contains('/') {
            return refuse("may not contain '/'");
        }
        if name.contains('%') {
            return refuse("may not contain '%'");
        }
        return if name == "." || name == ".." {
            refuse(&format!("may not be '{name}'"))
        } else {
            Ok(())
        };
    }
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_end)
            && label.ends_with(is_end)
            && label.chars().all(|c| is_end(c) || c == '-')
    };
    if name.len() > 253 {
        return refuse("must be no more than 253 bytes");
    }
    if !name.split('.').all(is_label) {
        return refuse(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        );
    }
    Ok(())
}
