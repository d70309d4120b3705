//! Tables, as kubectl shows them (`pkg/printers/internalversion`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::encoding::{self, at, text};
use super::http::Call;
use super::read::list_metadata;
use super::resources::Resource;
use super::store::{Page, Stored};

/// What of the object stands beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Included {
    None,
    Metadata,
    Object,
}

impl Included {
    pub(super) fn parse(call: &Call) -> Included {
        match call.parameter("includeObject") {
            "None" => Included::None,
            "Object" => Included::Object,
            _ => Included::Metadata,
        }
    }
}

/// Name and whether it is shown only with `-o wide`.
type Column = (&'static str, bool);

fn columns(resource: &Resource) -> &'static [Column] {
    match resource.plural {
        "nodes" => &[
            ("Name", false),
            ("Status", false),
            ("Roles", false),
            ("Age", false),
            ("Version", false),
            ("Internal-IP", true),
            ("External-IP", true),
            ("OS-Image", true),
            ("Kernel-Version", true),
            ("Container-Runtime", true),
        ],
        "certificatesigningrequests" => &[
            ("Name", false),
            ("Age", false),
            ("SignerName", false),
            ("Requestor", false),
            ("RequestedDuration", false),
            ("Condition", false),
        ],
        "events" => &[
            ("Last Seen", false),
            ("Type", false),
            ("Reason", false),
            ("Object", false),
            ("Subobject", true),
            ("Source", true),
            ("Message", false),
            ("First Seen", true),
            ("Count", true),
            ("Name", true),
        ],
        "namespaces" => &[("Name", false), ("Status", false), ("Age", false)],
        "leases" => &[("Name", false), ("Holder", false), ("Age", false)],
        "configmaps" => &[("Name", false), ("Data", false), ("Age", false)],
        "servicecidrs" => &[("Name", false), ("CIDRs", false), ("Age", false)],
        "networkpolicies" => &[("Name", false), ("Pod-Selector", false), ("Age", false)],
        "clusterroles" | "roles" => &[("Name", false), ("Created At", false)],
        _ => &[("Name", false), ("Age", false)],
    }
}

fn cells(resource: &Resource, name: &str, object: &Map<String, Value>) -> Vec<Value> {
    let created = text(object, &["metadata", "creationTimestamp"]);
    let age = since(created);
    match resource.plural {
        "nodes" => node(name, &age, object),
        "certificatesigningrequests" => request(name, &age, object),
        "events" => event(name, object),
        "namespaces" => vec![
            name.into(),
            text(object, &["status", "phase"]).into(),
            age.into(),
        ],
        "leases" => {
            let holder = text(object, &["spec", "holderIdentity"]);
            vec![name.into(), holder.into(), age.into()]
        }
        "configmaps" => {
            let count = |key: &str| {
                object
                    .get(key)
                    .and_then(Value::as_object)
                    .map_or(0, Map::len)
            };
            let count = count("data").saturating_add(count("binaryData"));
            vec![name.into(), count.into(), age.into()]
        }
        "servicecidrs" => {
            let cidrs = at(object, &["spec", "cidrs"]).and_then(Value::as_array);
            let cidrs: Vec<&str> = cidrs
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            vec![name.into(), cidrs.join(",").into(), age.into()]
        }
        "networkpolicies" => {
            let labels = at(object, &["spec", "podSelector", "matchLabels"]);
            let labels = labels.and_then(Value::as_object).into_iter().flatten();
            let labels: Vec<String> = labels
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            let labels = labels.join(",");
            vec![name.into(), or(&labels, "<none>").into(), age.into()]
        }
        "clusterroles" | "roles" => vec![name.into(), created.into()],
        _ => vec![name.into(), age.into()],
    }
}

/// The first that is not empty.
fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

fn node(name: &str, age: &str, object: &Map<String, Value>) -> Vec<Value> {
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

fn request(name: &str, age: &str, object: &Map<String, Value>) -> Vec<Value> {
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

fn event(name: &str, object: &Map<String, Value>) -> Vec<Value> {
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

fn since(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => human(
            Timestamp::now()
                .as_second()
                .saturating_sub(time.as_second()),
        ),
        Err(_) => "<unknown>".into(),
    }
}

/// `duration.HumanDuration` of apimachinery.
fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, small: i64, unit: char, below: char| {
        let whole = seconds / large;
        match seconds % large / small {
            0 => format!("{whole}{unit}"),
            rest => format!("{whole}{unit}{rest}{below}"),
        }
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 1, 'm', 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, MINUTE, 'h', 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, HOUR, 'd', 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, DAY, 'y', 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn definitions(resource: &Resource) -> Value {
    let definition = |(name, wide): &Column| {
        json!({
            "name": name,
            "type": "string",
            "format": if *name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(*wide),
        })
    };
    columns(resource).iter().map(definition).collect()
}

fn row(resource: &Resource, stored: &Stored, included: Included) -> Value {
    let object = stored.object();
    let cells = cells(resource, stored.name(), &object);
    let shown = match included {
        Included::None => Value::Null,
        Included::Metadata => metadata_of(stored),
        Included::Object => encoding::named(resource, object),
    };
    json!({"cells": cells, "object": shown})
}

fn table(resource: &Resource, metadata: &Value, rows: &[Value], with_columns: bool) -> Value {
    let columns = if with_columns {
        definitions(resource)
    } else {
        Value::Null
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn version_of(stored: &Stored) -> Value {
    json!({"resourceVersion": stored.version.to_string()})
}

/// The table of one object.
pub(super) fn of_one(call: &Call, stored: &Stored) -> Value {
    let resource = call.path.resource;
    let row = row(resource, stored, Included::parse(call));
    table(resource, &version_of(stored), &[row], true)
}

/// The table of a list.
pub(super) fn of_page(call: &Call, page: &Page, next: Option<String>) -> Value {
    let resource = call.path.resource;
    let included = Included::parse(call);
    let rows: Vec<Value> = page
        .objects
        .iter()
        .map(|stored| row(resource, stored, included))
        .collect();
    table(resource, &list_metadata(page, next), &rows, true)
}

/// The table of an event of a watch; only the first says what the columns are.
pub(super) fn of_event(
    resource: &Resource,
    stored: &Stored,
    included: Included,
    with_columns: bool,
) -> Value {
    let row = row(resource, stored, included);
    table(resource, &version_of(stored), &[row], with_columns)
}

/// A bookmark among tables.
pub(super) fn bookmark(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "Table".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}

/// An object of which only the metadata is shown.
pub(super) fn metadata_of(stored: &Stored) -> Value {
    let mut object = stored.object();
    object.retain(|key, _| key == "metadata");
    named_metadata(object)
}

/// The kind of what shows only metadata.
pub(super) fn named_metadata(mut object: Map<String, Value>) -> Value {
    object.insert("kind".into(), "PartialObjectMetadata".into());
    object.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn durations_are_those_of_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (600, "10m"),
            (3600, "60m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (86_400, "24h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (31_536_000, "365d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }
}
