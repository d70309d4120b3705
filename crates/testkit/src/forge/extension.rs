//! Requested extensions.

use serde::Deserialize;

use super::{
    der::Node,
    general_name::{GeneralName, names},
    octets::Octets,
    oid::{Oid, oid},
};

/// The encoding of `critical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Critical {
    /// Missing, which is the only DER encoding of FALSE.
    #[default]
    Absent,
    True,
    /// FALSE, encoded explicitly.
    False,
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extension {
    /// The SAN with the recipe's own names.
    San,
    /// A SAN with these names.
    SanOf(Vec<GeneralName>),
    /// basicConstraints with this value of `cA`.
    Ca(bool),
    /// keyUsage, as bit numbers of RFC 5280 4.2.1.3 (0 digitalSignature, 5 keyCertSign).
    KeyUsage(Vec<u8>),
    ExtKeyUsage(Vec<Oid>),
    Policies(Vec<Oid>),
    /// Any other extension.
    Custom(Custom),
}

/// An extension given by its parts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    #[serde(rename = "type")]
    pub oid: Oid,
    #[serde(default)]
    pub critical: Critical,
    /// The content of the OCTET STRING.
    pub value: Octets,
}

impl Extension {
    /// Encodes the extension. `san` and `san_critical` are the recipe's own SAN.
    pub fn node(&self, san: &[GeneralName], san_critical: Critical) -> Node {
        let list = |oids: &[Oid]| oids.iter().map(Oid::node).collect();
        match self {
            Self::San => extension("san", &oid("subjectAltName"), san_critical, names(san)),
            Self::SanOf(entries) => extension(
                "san_of",
                &oid("subjectAltName"),
                Critical::Absent,
                names(entries),
            ),
            Self::Ca(ca) => {
                // FALSE is the default, so DER leaves it out.
                let flags = if *ca {
                    vec![Node::boolean(true)]
                } else {
                    Vec::new()
                };
                extension(
                    "ca",
                    &oid("basicConstraints"),
                    Critical::True,
                    Node::sequence(flags),
                )
            }
            Self::KeyUsage(bits) => extension(
                "key_usage",
                &oid("keyUsage"),
                Critical::True,
                named_bits(bits),
            ),
            Self::ExtKeyUsage(usages) => extension(
                "ext_key_usage",
                &oid("extKeyUsage"),
                Critical::Absent,
                Node::sequence(list(usages)),
            ),
            Self::Policies(policies) => {
                let policy = |p: &Oid| Node::sequence(vec![p.node()]);
                let policies = Node::sequence(policies.iter().map(policy).collect());
                extension(
                    "policies",
                    &oid("certificatePolicies"),
                    Critical::Absent,
                    policies,
                )
            }
            Self::Custom(custom) => wrap(
                "custom",
                &custom.oid,
                custom.critical,
                Node::primitive(0x04, custom.value.0.clone()),
            ),
        }
    }
}

fn extension(name: &'static str, oid: &Oid, critical: Critical, value: Node) -> Node {
    wrap(name, oid, critical, Node::octet_string(vec![value]))
}

fn wrap(name: &'static str, oid: &Oid, critical: Critical, value: Node) -> Node {
    let mut children = vec![oid.node()];
    match critical {
        Critical::Absent => {}
        Critical::True => children.push(Node::boolean(true).named("critical")),
        Critical::False => children.push(Node::boolean(false).named("critical")),
    }
    children.push(value.named("value"));
    Node::sequence(children).named(name)
}

/// A named bit list: trailing zero bits are dropped, X.690 11.2.2.
fn named_bits(bits: &[u8]) -> Node {
    let Some(highest) = bits.iter().copied().max() else {
        return Node::primitive(0x03, [0]);
    };
    let mut content = vec![0; usize::from(highest / 8) + 2];
    content[0] = 7 - highest % 8;
    for bit in bits {
        content[usize::from(bit / 8) + 1] |= 0x80 >> (bit % 8);
    }
    Node::primitive(0x03, content)
}
