//! Messages that are no objects in JSON: times, numbers with units, and the like.

use jiff::Timestamp;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A point in time, to the second; without both fields, none.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Time {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    // Clients write it, and Kubernetes reads it as 0.
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

/// A point in time, to the microsecond; without both fields, none.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct MicroTime {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(int32, optional, tag = "2")]
    nanos: Option<i32>,
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (None, None) = (self.seconds, self.nanos) else {
            let nanos = self.nanos.unwrap_or_default();
            let micros = nanos.saturating_sub(nanos % 1000);
            let time = Timestamp::new(self.seconds.unwrap_or_default(), micros);
            return time.map_err(S::Error::custom)?.serialize(serializer);
        };
        serializer.serialize_none()
    }
}

/// A number with a unit, as text.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Quantity {
    #[prost(string, tag = "1")]
    string: String,
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.string)
    }
}

/// A port by number or by name, and the like.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IntOrString {
    /// 0 for a number, 1 for text.
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int32, tag = "2")]
    int_val: i32,
    #[prost(string, tag = "3")]
    str_val: String,
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.r#type {
            0 => serializer.serialize_i32(self.int_val),
            1 => serializer.serialize_str(&self.str_val),
            other => Err(S::Error::custom(format!(
                "expected 0 (a number) or 1 (text) as the type of an IntOrString, found {other}"
            ))),
        }
    }
}

/// JSON in protobuf.
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

/// One of several lists of text in a map.
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
