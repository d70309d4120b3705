//! The nine kinds of GeneralName (RFC 5280 4.2.1.6), and names that are none of them.

use serde::Deserialize;

use super::{
    der::Node,
    octets::{IpOctets, Octets},
    oid::Oid,
    subject::{NameAttribute, StringType, name, string},
};

/// One entry of a SAN: `{dns: node-1}`, `{ip: 10.0.0.1}`, `{raw: {tag: 0xa2, content: node-1}}`…
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneralName {
    Dns(Octets),
    Ip(IpOctets),
    Email(Octets),
    Uri(Octets),
    OtherName(OtherName),
    Directory(Vec<Vec<NameAttribute>>),
    RegisteredId(Oid),
    /// An ORAddress's content.
    X400(Octets),
    /// An EDIPartyName's partyName.
    EdiParty(Octets),
    /// Any tag with any content.
    Raw(RawName),
    /// This number of distinct DNS names: `n0.example`, `n1.example`…
    ManyDns(usize),
    /// This number of distinct addresses, from 10.0.0.1 up.
    ManyIp(u32),
}

/// An otherName: `{type: msUPN, value: root@example}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherName {
    #[serde(rename = "type")]
    pub oid: Oid,
    /// The value, encoded as a UTF8String.
    pub value: Octets,
}

/// An element given by its identifier octet and content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawName {
    pub tag: u8,
    #[serde(default)]
    pub content: Octets,
}

impl GeneralName {
    /// Encodes the name: one element, except for the `many` kinds.
    pub fn nodes(&self) -> Vec<Node> {
        let utf8 = |value: &Octets| string(StringType::Utf8, &value.0);
        let one = match self {
            Self::OtherName(other) => {
                let value = Node::constructed(0xa0, vec![utf8(&other.value)]).named("value");
                Node::constructed(0xa0, vec![other.oid.node(), value])
            }
            Self::Email(text) => Node::primitive(0x81, text.0.clone()),
            Self::Dns(text) => Node::primitive(0x82, text.0.clone()),
            Self::X400(content) => Node::primitive(0xa3, content.0.clone()),
            // A CHOICE cannot be tagged implicitly: directoryName wraps the whole Name.
            Self::Directory(rdns) => Node::constructed(0xa4, vec![name(rdns)]),
            Self::EdiParty(text) => {
                Node::constructed(0xa5, vec![Node::constructed(0xa1, vec![utf8(text)])])
            }
            Self::Uri(text) => Node::primitive(0x86, text.0.clone()),
            Self::Ip(octets) => Node::primitive(0x87, octets.0.clone()),
            Self::RegisteredId(oid) => Node::primitive(0x88, oid.content()),
            Self::Raw(raw) => Node::primitive(raw.tag, raw.content.0.clone()),
            Self::ManyDns(count) => {
                let dns = |index| Node::primitive(0x82, format!("n{index}.example"));
                return (0..*count).map(dns).collect();
            }
            Self::ManyIp(count) => {
                let ip = |index: u32| Node::primitive(0x87, (0x0a00_0001 + index).to_be_bytes());
                return (0..*count).map(ip).collect();
            }
        };
        vec![one]
    }
}

/// Encodes GeneralNames.
pub fn names(entries: &[GeneralName]) -> Node {
    Node::sequence(entries.iter().flat_map(GeneralName::nodes).collect()).named("names")
}
