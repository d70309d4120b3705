//! The patch types: JSON patch, merge patch, strategic merge patch, and apply.

use std::mem;

use serde_json::{Map, Value};

use super::status_error::StatusError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON Patch (RFC 6902).
    Json,
    /// JSON Merge Patch (RFC 7386).
    Merge,
    /// A strategic merge patch, which merges lists by the keys of their items.
    Strategic,
    /// Server-side apply without field owners: a strategic merge patch.
    Apply,
}

impl Kind {
    pub(super) fn parse(content_type: &str) -> Result<Kind, StatusError> {
        match content_type {
            "application/json-patch+json" => Ok(Kind::Json),
            "application/merge-patch+json" => Ok(Kind::Merge),
            "application/strategic-merge-patch+json" => Ok(Kind::Strategic),
            "application/apply-patch+yaml" => Ok(Kind::Apply),
            _ => Err(StatusError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, \
                 application/apply-patch+yaml, application/strategic-merge-patch+json",
            )),
        }
    }
}

pub(super) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    pub(super) fn parse(kind: Kind, body: &[u8]) -> Result<Patch, StatusError> {
        let wrong = |error: serde_json::Error| {
            StatusError::bad_request(format!("error decoding patch: {error}"))
        };
        match kind {
            Kind::Json => serde_json::from_slice(body).map(Patch::Json).map_err(wrong),
            Kind::Merge => serde_json::from_slice(body)
                .map(Patch::Merge)
                .map_err(wrong),
            // Applied configuration may be YAML too, and is decoded like any object.
            Kind::Strategic | Kind::Apply => serde_json::from_slice(body)
                .map(Patch::Strategic)
                .map_err(wrong),
        }
    }

    pub(super) fn apply(&self, mut object: Value) -> Result<Value, StatusError> {
        match self {
            Patch::Json(patch) => json_patch::patch(&mut object, patch).map_err(|error| {
                StatusError::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {error}"
                ))
            })?,
            Patch::Merge(patch) => json_patch::merge(&mut object, patch),
            Patch::Strategic(patch) => strategic("", &mut object, patch),
        }
        Ok(object)
    }
}

/// Returns the key that identifies list items (`patchMergeKey` of the types).
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "addresses" | "conditions" => "type",
        "containers" | "initContainers" | "env" | "volumes" | "secrets" | "imagePullSecrets" => {
            "name"
        }
        "ownerReferences" => "uid",
        "ports" => "port",
        "taints" => "key",
        "volumeMounts" => "mountPath",
        _ => return None,
    })
}

/// Returns true for lists of scalars that are merged as sets.
fn is_set(list: &str) -> bool {
    ["finalizers", "podCIDRs"].contains(&list)
}

fn strategic(field: &str, target: &mut Value, patch: &Value) {
    if let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) {
        strategic_object(target, patch);
    } else if let (Value::Array(target), Value::Array(patch)) = (&mut *target, patch)
        && (merge_key(field).is_some() || is_set(field))
    {
        strategic_list(field, target, patch);
    } else {
        *target = without_directives(patch);
    }
}

fn strategic_object(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if patch
        .get("$patch")
        .is_some_and(|directive| directive == "replace")
    {
        target.clear();
    }
    let before = target.clone();
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(from)), Value::Array(gone)) = (target.get_mut(list), value) {
                from.retain(|one| !gone.contains(one));
            }
        } else if key.starts_with('$') {
            // Ordering directives are applied last. `$retainKeys` has no effect here.
        } else if value.is_null() {
            target.remove(key);
        } else {
            let entry = target.entry(key.as_str()).or_insert(Value::Null);
            strategic(key, entry, value);
        }
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(merged)), Value::Array(order)) = (target.get_mut(list), order)
        {
            let before = before.get(list).and_then(Value::as_array);
            reorder(list, before.map_or(&[], Vec::as_slice), merged, order);
        }
    }
}

/// Sorts a merged list as `mergeSortedSlice` of `strategicpatch` does. Items in the patch have its
/// order. Each other item stays before the item that it preceded.
fn reorder(list: &str, before: &[Value], merged: &mut Vec<Value>, order: &[Value]) {
    let key = merge_key(list);
    let id = |value: &Value| match key {
        Some(key) => value.get(key).cloned().unwrap_or_default(),
        None => value.clone(),
    };
    let place = |list: &[Value], value: &Value| list.iter().position(|one| id(one) == id(value));
    let (mut named, others): (Vec<Value>, Vec<Value>) = mem::take(merged)
        .into_iter()
        .partition(|value| place(order, value).is_some());
    named.sort_by_key(|value| place(order, value));
    let mut others = others.into_iter().peekable();
    for value in named {
        let here = place(before, &value);
        let is_before = |other: &Value| match (place(before, other), here) {
            (Some(there), Some(here)) => there < here,
            (_, _) => false,
        };
        while let Some(other) = others.next_if(is_before) {
            merged.push(other);
        }
        merged.push(value);
    }
    merged.extend(others);
}

fn strategic_list(field: &str, target: &mut Vec<Value>, patch: &[Value]) {
    let before = target.clone();
    merge_list(field, target, patch);
    reorder(field, &before, target, patch);
}

fn merge_list(field: &str, target: &mut Vec<Value>, patch: &[Value]) {
    let Some(key) = merge_key(field) else {
        for value in patch {
            if !target.contains(value) {
                target.push(value.clone());
            }
        }
        return;
    };
    let directive = |value: &Value, name: &str| value.get("$patch").is_some_and(|one| one == name);
    if patch.iter().any(|value| directive(value, "replace")) {
        target.clear();
    }
    for value in patch {
        let Some(wanted) = value.get(key) else {
            continue;
        };
        if directive(value, "delete") {
            target.retain(|one| one.get(key) != Some(wanted));
        } else if let Some(found) = target.iter_mut().find(|one| one.get(key) == Some(wanted)) {
            strategic("", found, value);
        } else {
            target.push(without_directives(value));
        }
    }
}

fn without_directives(value: &Value) -> Value {
    let mut value = value.clone();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    if let Value::Object(map) = value {
        let kept = mem::take(map)
            .into_iter()
            .filter(|(key, value)| !key.starts_with('$') && !value.is_null());
        *map = kept.collect();
        map.values_mut().for_each(strip);
    } else if let Value::Array(list) = value {
        list.retain(|one| one.get("$patch").is_none());
        list.iter_mut().for_each(strip);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_the_order_that_a_patch_gives_it() {
        let object = json!({"spec": {"taints": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}});
        let patch = json!({"spec": {
            "$setElementOrder/taints": [{"key": "d"}, {"key": "c"}, {"key": "a"}],
            "taints": [{"key": "d"}],
        }});
        let patch = Patch::parse(Kind::Strategic, patch.to_string().as_bytes()).unwrap();
        assert_eq!(
            patch.apply(object).unwrap(),
            json!({"spec": {"taints": [
                {"key": "d"}, {"key": "b"}, {"key": "c"}, {"key": "a"},
            ]}})
        );
    }

    #[test]
    fn a_strategic_patch_merges_lists_by_their_keys() {
        let object = json!({"status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "a"},
        ]}, "metadata": {"finalizers": ["x"], "labels": {"a": "1", "b": "2"}}});
        let patch = json!({
            "status": {
                "$setElementOrder/addresses": [{"type": "Hostname"}],
                "addresses": [
                    {"type": "InternalIP", "address": "10.0.0.2"},
                    {"type": "Hostname", "$patch": "delete"},
                    {"type": "ExternalIP", "address": "192.0.2.1"},
                ],
            },
            "metadata": {"finalizers": ["y"], "labels": {"a": null}},
        });
        let patch = Patch::parse(Kind::Strategic, patch.to_string().as_bytes()).unwrap();
        assert_eq!(
            patch.apply(object).unwrap(),
            json!({"status": {"addresses": [
                {"type": "InternalIP", "address": "10.0.0.2"},
                {"type": "ExternalIP", "address": "192.0.2.1"},
            ]}, "metadata": {"finalizers": ["y", "x"], "labels": {"b": "2"}}})
        );
    }
}
