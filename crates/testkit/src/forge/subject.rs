//! The subject: RDNs of attributes, in any string type.

use serde::Deserialize;

use super::{
    der::Node,
    octets::Octets,
    oid::{Oid, oid},
};

/// The string type of an attribute value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StringType {
    /// PrintableString if possible, or else UTF8String, as in Go's encoding/asn1.
    #[default]
    Go,
    Utf8,
    Printable,
    Ia5,
    T61,
    Numeric,
    Visible,
    General,
    /// UTF-16, big-endian.
    Bmp,
    /// UTF-32, big-endian.
    Universal,
    /// OCTET STRING, which a name may not have.
    Octet,
}

/// One attribute: `{type: CN, value: system:node:node-1, as: utf8}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameAttribute {
    #[serde(rename = "type")]
    pub oid: Oid,
    pub value: Octets,
    #[serde(rename = "as", default)]
    pub string: StringType,
}

impl NameAttribute {
    /// An attribute in the string type that Go would choose.
    pub fn new(name: &str, value: impl Into<Octets>) -> Self {
        Self {
            oid: oid(name),
            value: value.into(),
            string: StringType::Go,
        }
    }

    fn node(&self) -> Node {
        let value = string(self.string, &self.value.0).named("value");
        Node::sequence(vec![self.oid.node(), value])
    }
}

/// Encodes a Name: a SEQUENCE of RDNs, each the SET of its attributes.
pub fn name(rdns: &[Vec<NameAttribute>]) -> Node {
    let rdn = |attributes: &Vec<NameAttribute>| {
        Node::set(attributes.iter().map(NameAttribute::node).collect())
    };
    Node::sequence(rdns.iter().map(rdn).collect())
}

/// Encodes a character string of this type.
pub fn string(kind: StringType, value: &[u8]) -> Node {
    let wide = |encode: fn(char) -> Vec<u8>| -> Vec<u8> {
        let text = std::str::from_utf8(value).expect("a wide string is given as UTF-8 text");
        text.chars().flat_map(encode).collect()
    };
    match kind {
        StringType::Go if value.iter().all(|o| printable(*o)) => Node::primitive(0x13, value),
        StringType::Go | StringType::Utf8 => Node::primitive(0x0c, value),
        StringType::Printable => Node::primitive(0x13, value),
        StringType::Ia5 => Node::primitive(0x16, value),
        StringType::T61 => Node::primitive(0x14, value),
        StringType::Numeric => Node::primitive(0x12, value),
        StringType::Visible => Node::primitive(0x1a, value),
        StringType::General => Node::primitive(0x1b, value),
        StringType::Octet => Node::primitive(0x04, value),
        StringType::Universal => {
            Node::primitive(0x1c, wide(|c| u32::from(c).to_be_bytes().to_vec()))
        }
        StringType::Bmp => Node::primitive(
            0x1e,
            wide(|c| {
                let mut units = [0; 2];
                c.encode_utf16(&mut units)
                    .iter()
                    .flat_map(|u| u.to_be_bytes())
                    .collect()
            }),
        ),
    }
}

/// Returns true for a character of PrintableString, as Go's `isPrintable` (encoding/asn1/asn1.go).
fn printable(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)
}
