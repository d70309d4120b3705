//! JSON values without what is nested too deeply.
//!
//! The API server stores `managedFields` of any depth, and serde_json rejects a value that is nested
//! more than 128 times. One such object would make a whole list unreadable.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};

/// Maximum nesting depth. Nothing that is used is nested more than 20 times.
const MAX_DEPTH: usize = 64;

/// A JSON value in which everything below a depth of 64 is null.
#[derive(Clone, Debug)]
pub struct ShallowValue(pub Value);

impl<'de> Deserialize<'de> for ShallowValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ShallowValue, D::Error> {
        Level(MAX_DEPTH).deserialize(deserializer).map(ShallowValue)
    }
}

/// Decodes a value with at most this many levels.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn below(self) -> Level {
        Level(self.0.saturating_sub(1))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 == 0 {
            // serde_json skips a value without recursion, at any depth.
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            object.insert(key, entries.next_value_seed(self.below())?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deep_value_is_cut_and_the_rest_is_kept() {
        let depth = 100_000;
        let deep = format!("{}1{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));
        let text =
            format!("{{\"before\":[1,-2,0.5,\"x\",true,null],\"deep\":{deep},\"after\":{{}}}}");
        assert!(serde_json::from_str::<Value>(&text).is_err());
        let ShallowValue(mut value) = serde_json::from_str(&text).unwrap();
        let mut levels = 0;
        let mut inner = &value["deep"];
        while !inner.is_null() {
            inner = inner.get("a").or_else(|| inner.get(0)).unwrap();
            levels += 1;
        }
        assert_eq!(levels, MAX_DEPTH - 1);
        value["deep"].take();
        let expected = json!({"before": [1, -2, 0.5, "x", true, null], "deep": null, "after": {}});
        assert_eq!(value, expected);
    }
}
