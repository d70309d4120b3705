//! Protobuf messages that are not objects in JSON: times, embedded JSON, and lists in maps.

use jiff::Timestamp;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A time, to the second. Without fields it is the zero time.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Time {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    // Clients send it, and Kubernetes reads it as 0.
    #[prost(int32, optional, tag = "2")]
    nanos: Option<i32>,
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (None, None) = (self.seconds, self.nanos) else {
            let time = Timestamp::from_second(self.seconds.unwrap_or_default());
            return time.map_err(S::Error::custom)?.serialize(serializer);
        };
        serializer.serialize_none()
    }
}

/// JSON embedded in protobuf.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FieldsV1 {
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

impl Serialize for FieldsV1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields: Value = serde_json::from_slice(&self.raw).map_err(S::Error::custom)?;
        fields.serialize(serializer)
    }
}

/// A list of strings in a map.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExtraValue {
    #[prost(string, repeated, tag = "1")]
    items: Vec<String>,
}

impl Serialize for ExtraValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(serializer)
    }
}
