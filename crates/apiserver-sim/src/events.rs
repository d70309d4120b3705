//! Conversion of Events between `v1`, which is stored, and `events.k8s.io/v1`.

use serde_json::{Map, Value};

/// Field names in `v1` and in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Converts an Event to `events.k8s.io/v1`.
pub(super) fn to_events_v1(mut event: Map<String, Value>) -> Map<String, Value> {
    for (old, new) in NAMES {
        if let Some(value) = event.remove(old) {
            event.insert(new.into(), value);
        }
    }
    event
}

/// Converts an Event to `v1`.
pub(super) fn to_core_v1(mut event: Map<String, Value>) -> Map<String, Value> {
    for (old, new) in NAMES {
        if let Some(value) = event.remove(new) {
            event.insert(old.into(), value);
        }
    }
    event
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conversion_both_ways_is_lossless() {
        let event = json!({"involvedObject": {"name": "x"}, "message": "m", "count": 2});
        let event = event.as_object().unwrap().clone();
        let new = to_events_v1(event.clone());
        assert_eq!(new.get("regarding"), Some(&json!({"name": "x"})));
        assert_eq!(to_core_v1(new), event);
    }
}
