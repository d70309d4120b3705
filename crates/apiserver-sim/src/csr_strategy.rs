//! The rules for CertificateSigningRequests (`pkg/registry/certificates`,
//! `pkg/apis/certificates/validation`).

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::authn::User;
use super::object::{at, text};
use super::pkcs10;
use super::resources::Resource;
use super::status_error::{Cause, StatusError};

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions whose status must be `True`.
const TRUE_ONLY: [&str; 3] = ["Approved", "Denied", "Failed"];
/// Conditions that only `/approval` may add.
const APPROVAL: [&str; 2] = ["Approved", "Denied"];
const MIN_EXPIRATION_SECONDS: i64 = 600;

/// Sets the requestor from the authenticated user, and clears the status of a new request.
pub(super) fn created(user: &User, object: &mut Map<String, Value>) {
    if let Some(Value::Object(spec)) = object.get_mut("spec") {
        for key in ["username", "uid", "groups", "extra"] {
            spec.remove(key);
        }
        spec.insert("username".into(), user.name.as_str().into());
        if !user.uid.is_empty() {
            spec.insert("uid".into(), user.uid.as_str().into());
        }
        spec.insert("groups".into(), user.groups.clone().into());
        if !user.extra.is_empty() {
            spec.insert("extra".into(), json!(user.extra));
        }
    }
    object.insert("status".into(), json!({}));
}

/// Reverts the fields that an update through this subresource may not change.
pub(super) fn updated(
    subresource: &str,
    old: &Map<String, Value>,
    new: &mut Map<String, Value>,
    now: &str,
) {
    let old_status = old.get("status").cloned().unwrap_or_else(|| json!({}));
    let keep_spec = |new: &mut Map<String, Value>| {
        if let Some(spec) = old.get("spec") {
            new.insert("spec".into(), spec.clone());
        }
    };
    keep_spec(new);
    match subresource {
        "approval" => {
            let mut conditions = conditions(new).to_vec();
            stamp(&mut conditions, self::conditions(old), now);
            let mut status = old_status;
            if let Value::Object(status) = &mut status {
                status.remove("conditions");
                if !conditions.is_empty() {
                    status.insert("conditions".into(), conditions.into());
                }
            }
            new.insert("status".into(), status);
        }
        "status" => {
            let mut conditions = conditions(new).to_vec();
            for kind in APPROVAL {
                preserve(kind, self::conditions(old), &mut conditions);
            }
            stamp(&mut conditions, self::conditions(old), now);
            if let Some(Value::Object(status)) = new.get_mut("status") {
                status.remove("conditions");
                if !conditions.is_empty() {
                    status.insert("conditions".into(), conditions.into());
                }
            }
        }
        _ => {
            new.insert("status".into(), old_status);
        }
    }
}

fn conditions(object: &Map<String, Value>) -> &[Value] {
    at(object, &["status", "conditions"])
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn field<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn of_kind<'a>(kind: &'a str, conditions: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    conditions
        .iter()
        .filter(move |condition| field(condition, "type") == kind)
}

/// Keeps existing conditions of this type unchanged.
fn preserve(kind: &str, old: &[Value], new: &mut [Value]) {
    if of_kind(kind, old).count() != of_kind(kind, new).count() {
        return;
    }
    let mut before = of_kind(kind, old);
    for condition in new.iter_mut() {
        if field(condition, "type") == kind
            && let Some(same) = before.next()
        {
            *condition = same.clone();
        }
    }
}

/// Fills in missing condition times.
fn stamp(new: &mut [Value], old: &[Value], now: &str) {
    for condition in new {
        let kind = field(condition, "type").to_owned();
        let status = field(condition, "status").to_owned();
        let same = of_kind(&kind, old).find(|one| field(one, "status") == status);
        let since = same.and_then(|one| one.get("lastTransitionTime")).cloned();
        let Value::Object(condition) = condition else {
            continue;
        };
        let mut fill = |key: &str, value: Value| {
            if condition.get(key).is_none_or(Value::is_null) {
                condition.insert(key.into(), value);
            }
        };
        fill("lastUpdateTime", now.into());
        fill("lastTransitionTime", since.unwrap_or_else(|| now.into()));
    }
}

/// Validates a request that is new, or changed through a subresource.
pub(super) fn check(
    resource: &Resource,
    name: &str,
    object: &Map<String, Value>,
    old: Option<(&str, &Map<String, Value>)>,
) -> Result<(), StatusError> {
    let mut causes = Vec::new();
    // The spec of a stored request was validated at creation, and is immutable.
    if old.is_none() {
        check_spec(object, &mut causes);
    }
    check_conditions(conditions(object), &mut causes);
    check_certificate(text(object, &["status", "certificate"]), &mut causes);
    if let Some((subresource, old)) = old {
        check_change(subresource, old, object, &mut causes);
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(StatusError::invalid(resource, name, causes))
    }
}

/// Returns the bytes of `spec.request`.
pub(super) fn encoded(object: &Map<String, Value>) -> Vec<u8> {
    let text = at(object, &["spec", "request"])
        .cloned()
        .unwrap_or_default();
    serde_json::from_value::<ByteString>(text).map_or_else(|_| Vec::new(), |bytes| bytes.0)
}

fn check_spec(object: &Map<String, Value>, causes: &mut Vec<Cause>) {
    if let Err(why) = pkcs10::read(&encoded(object)) {
        let value = at(object, &["spec", "request"])
            .cloned()
            .unwrap_or_default();
        causes.push(Cause::invalid("spec.request", &value, &why.to_string()));
    }
    let usages = at(object, &["spec", "usages"]).and_then(Value::as_array);
    let usages: Vec<&str> = usages
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if usages.is_empty() {
        causes.push(Cause::required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        if !USAGES.contains(usage) {
            let field = format!("spec.usages[{index}]");
            causes.push(Cause::unsupported(&field, usage, &USAGES));
        }
    }
    for (index, usage) in usages.iter().enumerate() {
        if usages.iter().take(index).any(|before| before == usage) {
            causes.push(Cause::duplicate(&format!("spec.usages[{index}]"), usage));
        }
    }
    check_signer(text(object, &["spec", "signerName"]), causes);
    let seconds = at(object, &["spec", "expirationSeconds"]).filter(|value| !value.is_null());
    if let Some(seconds) = seconds
        && seconds
            .as_i64()
            .is_none_or(|seconds| seconds < MIN_EXPIRATION_SECONDS)
    {
        causes.push(Cause::invalid(
            "spec.expirationSeconds",
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
}

/// Validates a signer name: `domain/path`, with at least two labels in the domain
/// (`ValidateSignerName`).
fn check_signer(signer: &str, causes: &mut Vec<Cause>) {
    let field = "spec.signerName";
    let mut refuse = |detail: &str| causes.push(Cause::invalid(field, &signer.into(), detail));
    if signer.is_empty() {
        causes.push(Cause::required(field, ""));
        return;
    }
    if signer == "kubernetes.io/legacy-unknown" {
        return refuse("the legacy signerName is not allowed via this API version");
    }
    let Some((domain, path)) = signer
        .split_once('/')
        .filter(|(_, path)| !path.contains('/'))
    else {
        return refuse(
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    };
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_end)
            && label.ends_with(is_end)
            && label.chars().all(|c| is_end(c) || c == '-')
    };
    if !domain.split('.').all(is_label) {
        refuse("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters");
    } else if !domain.contains('.') {
        refuse("should be a domain with at least two segments separated by dots");
    }
    if !path.split('.').all(is_label) {
        refuse("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters");
    }
}

fn check_conditions(conditions: &[Value], causes: &mut Vec<Cause>) {
    let list = "status.conditions";
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let (kind, status) = (field(condition, "type"), field(condition, "status"));
        if kind.is_empty() {
            causes.push(Cause::required(&format!("{list}[{index}].type"), ""));
        }
        let allowed: &[&str] = if TRUE_ONLY.contains(&kind) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        let place = format!("{list}[{index}].status");
        if status.is_empty() {
            causes.push(Cause::required(&place, ""));
        } else if !allowed.contains(&status) {
            causes.push(Cause::unsupported(&place, status, allowed));
        }
        let other = APPROVAL.iter().find(|other| **other != kind);
        if APPROVAL.contains(&kind) && other.is_some_and(|other| seen.contains(other)) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            causes.push(Cause::invalid(list, &kind.into(), detail));
        }
        if seen.contains(&kind) {
            causes.push(Cause::duplicate(&format!("{list}[{index}].type"), kind));
        }
        seen.push(kind);
    }
}

fn check_certificate(encoded: &str, causes: &mut Vec<Cause>) {
    if encoded.is_empty() {
        return;
    }
    let decoded = serde_json::from_value::<ByteString>(encoded.into());
    let wrong = match decoded {
        Ok(bytes) => pkcs10::check_certificates(&bytes.0)
            .err()
            .map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = wrong {
        let shown = "<certificate data>".into();
        causes.push(Cause::invalid("status.certificate", &shown, &why));
    }
}

fn check_change(
    subresource: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    causes: &mut Vec<Cause>,
) {
    let list = "status.conditions";
    let count = |kind: &str, object| of_kind(kind, conditions(object)).count();
    for kind in TRUE_ONLY {
        if count(kind, new) < count(kind, old) {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            causes.push(Cause::forbidden(list, &detail));
        }
    }
    if subresource != "approval" {
        for kind in APPROVAL {
            if count(kind, new) > count(kind, old) {
                let detail = format!("updates may not add a condition of type {kind:?}");
                causes.push(Cause::forbidden(list, &detail));
            }
        }
    }
    let certificate = |object| text(object, &["status", "certificate"]);
    if certificate(old) != certificate(new) && !certificate(old).is_empty() {
        causes.push(Cause::forbidden(
            "status.certificate",
            "updates may not modify existing certificate content",
        ));
    }
}
