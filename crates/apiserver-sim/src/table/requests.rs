//! Table rows of CertificateSigningRequests.

use serde_json::{Map, Value};

use super::super::object::{at, text};
use super::age::human;
use super::cell::or;

pub(super) fn cells(name: &str, age: &str, object: &Map<String, Value>) -> Vec<Value> {
    let conditions = at(object, &["status", "conditions"]).and_then(Value::as_array);
    let has = |kind: &str| {
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| one.get("type").is_some_and(|found| found == kind))
    };
    let mut status = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !text(object, &["status", "certificate"]).is_empty() {
        status.push_str(",Issued");
    }
    let seconds = at(object, &["spec", "expirationSeconds"]).and_then(Value::as_i64);
    vec![
        name.into(),
        age.into(),
        or(text(object, &["spec", "signerName"]), "<none>").into(),
        text(object, &["spec", "username"]).into(),
        seconds.map_or_else(|| "<none>".to_owned(), human).into(),
        status.into(),
    ]
}
