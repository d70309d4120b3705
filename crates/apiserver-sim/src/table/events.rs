//! Table rows of Events.

use serde_json::{Map, Value};

use super::super::object::{at, text};
use super::age::since;
use super::cell::or;

pub(super) fn cells(name: &str, object: &Map<String, Value>) -> Vec<Value> {
    let first = or(
        text(object, &["firstTimestamp"]),
        text(object, &["eventTime"]),
    );
    let last = or(
        text(object, &["series", "lastObservedTime"]),
        or(text(object, &["lastTimestamp"]), first),
    );
    let count = at(object, &["series", "count"]).or_else(|| object.get("count"));
    let count = count.and_then(Value::as_i64).filter(|count| *count > 0);
    let kind = text(object, &["involvedObject", "kind"]).to_lowercase();
    let about = match text(object, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = or(
        text(object, &["source", "component"]),
        text(object, &["reportingComponent"]),
    );
    let host = or(
        text(object, &["source", "host"]),
        text(object, &["reportingInstance"]),
    );
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        since(last).into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        about.into(),
        text(object, &["involvedObject", "fieldPath"]).into(),
        source.into(),
        text(object, &["message"]).trim().into(),
        since(first).into(),
        count.unwrap_or(1).into(),
        name.into(),
    ]
}
