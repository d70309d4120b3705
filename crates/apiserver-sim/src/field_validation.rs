//! Unknown and duplicate fields, which are ignored, reported or rejected by `fieldValidation`.

use std::collections::BTreeSet;
use std::fmt;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::call::Call;
use super::status_error::{Cause, StatusError};

/// The value of `fieldValidation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validation {
    Ignore,
    Warn,
    Strict,
}

impl Validation {
    pub(super) fn parse(call: &Call) -> Result<Validation, StatusError> {
        match call.parameter("fieldValidation") {
            "Ignore" => Ok(Validation::Ignore),
            "" | "Warn" => Ok(Validation::Warn),
            "Strict" => Ok(Validation::Strict),
            other => {
                let options = match call.verb {
                    "create" => "CreateOptions",
                    "patch" => "PatchOptions",
                    _ => "UpdateOptions",
                };
                let known = ["", "Ignore", "Strict", "Warn"];
                let cause = Cause::unsupported("fieldValidation", other, &known);
                Err(StatusError::invalid_options(options, &cause))
            }
        }
    }
}

/// Returns the paths of the fields that the type does not have: those missing after decoding.
pub(super) fn unknown(given: &Map<String, Value>, canonical: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    look_for_unknown("", given, canonical, &mut found);
    found
}

fn look_for_unknown(
    path: &str,
    given: &Map<String, Value>,
    canonical: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    for (key, value) in given {
        let path = join(path, key);
        match canonical.get(key) {
            Some(kept) => compare(&path, value, kept, found),
            // A null value is dropped, known or not.
            None if value.is_null() => {}
            None => found.push(path),
        }
    }
}

fn compare(path: &str, given: &Value, kept: &Value, found: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => look_for_unknown(path, given, kept, found),
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                compare(&format!("{path}[{index}]"), given, kept, found);
            }
        }
        // A scalar has no fields.
        (_, _) => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Returns the paths of duplicate fields in a JSON text.
pub(super) fn duplicates(json: &[u8]) -> Vec<String> {
    let mut found = BTreeSet::new();
    let walk = Walk {
        path: "",
        found: &mut found,
    };
    // Other errors are reported by the decoder.
    let _ = walk.deserialize(&mut serde_json::Deserializer::from_slice(json));
    found.into_iter().collect()
}

/// A visitor that keeps only the paths of duplicate fields.
struct Walk<'a> {
    path: &'a str,
    found: &'a mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = join(self.path, &key);
            map.next_value_seed(Walk {
                path: &path,
                found: &mut *self.found,
            })?;
            if !seen.insert(key) {
                self.found.insert(path);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let path = format!("{}[{index}]", self.path);
            let walk = Walk {
                path: &path,
                found: &mut *self.found,
            };
            if list.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// Adds warnings to a response, as `Warning` headers.
pub(super) fn warn(mut answer: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        // A warning that does not fit into a header is dropped.
        if let Ok(value) = HeaderValue::try_from(format!("299 - {warning:?}")) {
            answer
                .headers_mut()
                .append(HeaderName::from_static("warning"), value);
        }
    }
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_by_path() {
        let given = json!({"a": {"x": 1, "y": null}, "list": [{"b": 1}, {"c": 2}], "z": 1});
        let kept = json!({"a": {}, "list": [{"b": 1}, {}]});
        assert_eq!(
            unknown(given.as_object().unwrap(), kept.as_object().unwrap()),
            ["a.x", "list[1].c", "z"]
        );
    }

    #[test]
    fn duplicate_fields_are_named_by_path() {
        let json =
            br#"{"a": {"b": 1, "b": [], "b": {}}, "c": [0, {"d": "", "d": null}], "a": 1.5}"#;
        assert_eq!(duplicates(json), ["a", "a.b", "c[1].d"]);
        assert!(duplicates(b"{").is_empty());
    }
}
