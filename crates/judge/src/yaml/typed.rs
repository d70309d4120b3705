//! Strict deserialization of a type from a value, as in Kubernetes: a list is not accepted as a mapping
//! (serde_json does), and a number is not a string.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::suggestion;

/// A value to deserialize from.
pub(super) struct Node(pub(super) Value);

impl<'de> Deserializer<'de> for Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                SeqDeserializer::new(items.into_iter().map(Node)).deserialize_any(visitor)
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, value)| (key, Node(value)));
                MapDeserializer::new(fields).deserialize_any(visitor)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if self.0.is_array() {
            return Err(Mismatch::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            Value::Object(fields) if fields.len() == 1 => visitor.visit_enum(Variant(fields)),
            Value::Object(fields) => {
                let why = format!("expected one field, found {}", fields.len());
                Err(Mismatch::new(why, String::new()))
            }
            // An enum's visitor accepts nothing else.
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
                Node(other).deserialize_any(visitor)
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Node {
    type Deserializer = Node;

    fn into_deserializer(self) -> Node {
        self
    }
}

/// Variant of an enum with fields: a mapping with its name as the only key.
struct Variant(Map<String, Value>);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Mismatch;
    type Variant = Node;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Node), Mismatch> {
        let (name, fields) = self.0.into_iter().next().unwrap_or_default();
        let variant = seed.deserialize(name.into_deserializer())?;
        Ok((variant, Node(fields)))
    }
}

impl<'de> VariantAccess<'de> for Node {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Err(Mismatch::invalid_type(Unexpected::Map, &"a string"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// The error for a value that does not match its type.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// `expected …, found …`.
    pub(super) why: String,
    /// The end of the message: the text to write instead, or empty.
    pub(super) remedy: String,
    /// True if the key is wrong, and not its value.
    pub(super) is_key: bool,
}

impl Mismatch {
    fn new(why: String, remedy: String) -> Mismatch {
        Mismatch {
            why,
            remedy,
            is_key: false,
        }
    }

    fn expected(found: Unexpected<'_>, expected: &dyn Expected) -> Mismatch {
        let (type_name, kind) = (expected.to_string(), kind(found));
        let why = format!("expected {}, found {kind}", noun(&type_name));
        let is_scalar = matches!(
            found,
            Unexpected::Bool(_)
                | Unexpected::Unsigned(_)
                | Unexpected::Signed(_)
                | Unexpected::Float(_)
        );
        let remedy = if is_scalar && type_name == "a string" {
            "; quote it to make it a string"
        } else {
            ""
        };
        Mismatch::new(why, remedy.to_owned())
    }

    /// The error for a word that is none of those expected.
    fn unknown(found: &str, expected: &'static [&'static str], why: String) -> Mismatch {
        Mismatch::new(why, suggestion(found, expected))
    }
}

/// The words that are expected, in an error message.
fn words(expected: &[&str]) -> String {
    match expected {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        several => format!("one of {}", several.join(", ")),
    }
}

impl Error for Mismatch {
    fn custom<T: fmt::Display>(why: T) -> Mismatch {
        Mismatch::new(why.to_string(), String::new())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Mismatch {
        Mismatch::expected(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Mismatch {
        Mismatch::expected(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Mismatch {
        let why = format!("expected {}, found `{found}`", words(expected));
        Mismatch::unknown(found, expected, why)
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Mismatch {
        let why = format!("unknown field `{found}`, expected {}", words(expected));
        Mismatch {
            is_key: true,
            ..Mismatch::unknown(found, expected, why)
        }
    }

    fn missing_field(field: &'static str) -> Mismatch {
        Mismatch::custom(format!("expected a field `{field}`, found none"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.why, self.remedy)
    }
}

impl std::error::Error for Mismatch {}

/// The YAML name of a Rust type.
fn noun(expected: &str) -> &str {
    match expected {
        "usize" => "a whole number",
        "u16" => "a whole number up to 65535",
        "a sequence" => "a list",
        "struct variant" | "newtype variant" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping",
        _ if expected.starts_with("enum ") => "a string",
        _ => expected,
    }
}

/// The YAML name of a value's type.
fn kind(found: Unexpected<'_>) -> String {
    if found == Unexpected::Unit {
        "null".to_owned()
    } else if found == Unexpected::UnitVariant {
        "a string".to_owned()
    } else if found == Unexpected::Seq {
        "a list".to_owned()
    } else if found == Unexpected::Map {
        "a mapping".to_owned()
    } else {
        found.to_string()
    }
}
