//! Table rows of Nodes.

use serde_json::{Map, Value};

use super::super::object::{at, text};
use super::cell::or;

pub(super) fn cells(name: &str, age: &str, object: &Map<String, Value>) -> Vec<Value> {
    let list = |path: &[&str]| {
        let list = at(object, path).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let has = |value: &Value, key: &str, wanted: &str| value.get(key).is_some_and(|v| v == wanted);
    let conditions = list(&["status", "conditions"]);
    let ready = conditions.iter().find(|one| has(one, "type", "Ready"));
    let mut status = match ready {
        None => "Unknown".to_owned(),
        Some(condition) if has(condition, "status", "True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
    };
    if at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let role = key.strip_prefix("node-role.kubernetes.io/");
            let other = (key == "kubernetes.io/role")
                .then(|| value.as_str())
                .flatten();
            role.or(other).filter(|role| !role.is_empty())
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let addresses = list(&["status", "addresses"]);
    let address = |kind: &str| {
        let found = addresses.iter().find(|one| has(one, "type", kind));
        let found = found
            .and_then(|one| one.get("address"))
            .and_then(Value::as_str);
        found.unwrap_or("<none>").to_owned()
    };
    let info = |key: &str| text(object, &["status", "nodeInfo", key]);
    let mut kernel = or(info("kernelVersion"), "<unknown>").to_owned();
    if !info("architecture").is_empty() {
        kernel = format!("{kernel} ({})", info("architecture"));
    }
    vec![
        name.into(),
        status.into(),
        or(&roles.join(","), "<none>").into(),
        age.into(),
        info("kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        or(info("osImage"), "<unknown>").into(),
        kernel.into(),
        or(info("containerRuntimeVersion"), "<unknown>").into(),
    ]
}
