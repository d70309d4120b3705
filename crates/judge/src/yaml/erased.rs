//! A deserializer whose type is forgotten: the YAML reader is large, and generic over what is read, so
//! each type would bring its own copy of it. Behind this one there is a single copy.
//!
//! Unlike the crate `erased-serde` this hands the reader's own errors through as they are, with the
//! place that they name, and raises what a type finds wrong where the reader still knows its place.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

/// Why reading stopped: a pointer, since it is passed on in many places.
#[derive(Debug)]
pub(super) struct Raised(Box<Why>);

#[derive(Debug)]
enum Why {
    /// The reader has said why, and keeps it.
    ByReader,
    /// The type has said why.
    Custom(String),
    InvalidType(String, String),
    InvalidValue(String, String),
    InvalidLength(usize, String),
    UnknownVariant(String, &'static [&'static str]),
    UnknownField(String, &'static [&'static str]),
    MissingField(&'static str),
    DuplicateField(&'static str),
}

impl Raised {
    #[cold]
    #[inline(never)]
    fn new(why: Why) -> Raised {
        Raised(Box::new(why))
    }

    /// As the reader's error, which learns its place here.
    #[cold]
    #[inline(never)]
    fn told<E: serde::de::Error>(self, by_reader: Option<E>) -> E {
        match *self.0 {
            Why::ByReader => by_reader.unwrap_or_else(|| E::custom("no reason was kept")),
            Why::Custom(text) => E::custom(text),
            Why::InvalidType(found, expected) => {
                E::invalid_type(Unexpected::Other(&found), &expected.as_str())
            }
            Why::InvalidValue(found, expected) => {
                E::invalid_value(Unexpected::Other(&found), &expected.as_str())
            }
            Why::InvalidLength(length, expected) => E::invalid_length(length, &expected.as_str()),
            Why::UnknownVariant(found, expected) => E::unknown_variant(&found, expected),
            Why::UnknownField(found, expected) => E::unknown_field(&found, expected),
            Why::MissingField(field) => E::missing_field(field),
            Why::DuplicateField(field) => E::duplicate_field(field),
        }
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Raised {}

impl serde::de::Error for Raised {
    fn custom<T: fmt::Display>(text: T) -> Raised {
        Raised::new(Why::Custom(text.to_string()))
    }

    #[inline(never)]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Raised {
        Raised::new(Why::InvalidType(found.to_string(), expected.to_string()))
    }

    #[inline(never)]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Raised {
        Raised::new(Why::InvalidValue(found.to_string(), expected.to_string()))
    }

    #[inline(never)]
    fn invalid_length(length: usize, expected: &dyn Expected) -> Raised {
        Raised::new(Why::InvalidLength(length, expected.to_string()))
    }

    #[inline(never)]
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Raised {
        Raised::new(Why::UnknownVariant(found.to_owned(), expected))
    }

    #[inline(never)]
    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Raised {
        Raised::new(Why::UnknownField(found.to_owned(), expected))
    }

    fn missing_field(field: &'static str) -> Raised {
        Raised::new(Why::MissingField(field))
    }

    fn duplicate_field(field: &'static str) -> Raised {
        Raised::new(Why::DuplicateField(field))
    }
}

/// What a type expects to read.
#[derive(Clone, Copy)]
enum Hint {
    Any,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    Char,
    Str,
    String,
    Bytes,
    ByteBuf,
    Option,
    Unit,
    Seq,
    Map,
    Identifier,
    Ignored,
    UnitStruct(&'static str),
    NewtypeStruct(&'static str),
    Tuple(usize),
    TupleStruct(&'static str, usize),
    Struct(&'static str, &'static [&'static str]),
    Enum(&'static str, &'static [&'static str]),
}

/// A value that is no container.
enum Scalar<'de, 'a> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(&'a str),
    Borrowed(&'de str),
    String(String),
    Bytes(&'a [u8]),
    None,
    Unit,
}

/// What an enum's variant holds.
enum Content<'a, 'de> {
    Unit,
    Newtype(&'a mut dyn AnySeed<'de>),
    Tuple(usize, &'a mut dyn AnyVisitor<'de>),
    Struct(&'static [&'static str], &'a mut dyn AnyVisitor<'de>),
}

pub(super) trait AnyDeserializer<'de> {
    #[allow(private_interfaces)]
    fn read(&mut self, hint: Hint, visitor: &mut dyn AnyVisitor<'de>) -> Result<(), Raised>;
}

/// A visitor has the methods that its hint leads the reader to; no more is compiled.
trait AnyVisitor<'de> {
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn scalar(&mut self, _: Scalar<'de, '_>) -> Result<(), Raised> {
        Err(not_asked_for())
    }

    fn some(&mut self, _: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised> {
        Err(not_asked_for())
    }

    fn newtype(&mut self, _: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised> {
        Err(not_asked_for())
    }

    fn seq(&mut self, _: &mut dyn AnySeq<'de>) -> Result<(), Raised> {
        Err(not_asked_for())
    }

    fn map(&mut self, _: &mut dyn AnyMap<'de>) -> Result<(), Raised> {
        Err(not_asked_for())
    }

    fn variant(&mut self, _: &mut dyn AnyEnum<'de>) -> Result<(), Raised> {
        Err(not_asked_for())
    }
}

trait AnySeed<'de> {
    fn sow(&mut self, deserializer: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised>;
}

trait AnySeq<'de> {
    fn next(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<bool, Raised>;
}

trait AnyMap<'de> {
    fn key(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<bool, Raised>;
    fn value(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<(), Raised>;
}

trait AnyEnum<'de> {
    fn name(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<(), Raised>;
    fn content(&mut self, content: Content<'_, 'de>) -> Result<(), Raised>;
}

mod reader;
mod types;

pub(super) use reader::Reader;
pub(super) use types::Erased;

#[cold]
#[inline(never)]
fn not_asked_for() -> Raised {
    Raised::custom("found what no type has asked for")
}

#[cold]
#[inline(never)]
fn used_up() -> Raised {
    Raised::custom("read a second time")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use crate::yaml::document;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        many: Vec<Inner>,
        #[serde(default)]
        network: Option<ipnet::IpNet>,
        #[serde(default)]
        map: BTreeMap<String, (u8, char)>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    enum Inner {
        Unit,
        Newtype(Box<Outer>),
        Tuple(i8, bool),
        Struct { ratio: f64 },
    }

    /// Nobody who reads a message can tell that the type was forgotten.
    #[test]
    fn what_is_read_and_what_is_wrong_are_told_as_the_reader_itself_tells_them() {
        for text in [
            "name: a",
            "name: 007",
            "name: ~",
            "name: [a]",
            "",
            "a",
            "name: a\nname: b",
            "name: a\nnaem: b",
            "inner: Unit",
            "name: a\ninner: Unit",
            "name: a\ninner: {Newtype: {name: b, inner: {Struct: {ratio: 1}}}}",
            "name: a\ninner: {Newtype: {name: b, inner: {Struct: {ratio: b}}}}",
            "name: a\ninner: {Newtype: {nmae: b}}",
            "name: a\ninner: {Newtype: {inner: Unit}}",
            "name: a\ninner: Other",
            "name: a\ninner: {Unit: 1}",
            "name: a\ninner: {Struct: {}}",
            "name: a\ninner: {Struct: {ratio: 1, ratio: 2}}",
            "name: a\nmany:\n- Tuple: [1, true]\n- Tuple: [1]\n",
            "name: a\nmany:\n- Tuple: [1, true]\n- Tuple: [400, true]\n",
            "name: a\nmany: [Unit, *b]",
            "name: a\nmany: [&b Unit, *b]",
            "name: a\nmany: 7",
            "name: a\nmany: [Unit",
            "name: a\nnetwork: 10.0.0.0/8",
            "name: a\nnetwork: 10.0.0.0/80",
            "name: a\nnetwork: ~",
            "name: a\nmap: {b: [1, c]}",
            "name: a\nmap: {b: [1, cd]}",
            "name: a\nmap: {b: [1]}",
            "name: a\nmap: {b: [256, c]}",
            "name: a\n---\nname: b",
        ] {
            let direct: Result<Outer, _> = serde_saphyr::from_str(text);
            let erased: Result<Outer, _> = document(text);
            let direct = direct.map_err(|error| (error.location(), error.to_string()));
            let erased = erased.map_err(|error| (error.location(), error.to_string()));
            assert_eq!(erased, direct, "{text}");
        }
    }
}
