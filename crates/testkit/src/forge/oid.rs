//! Object identifiers, by number or by their usual name.

use serde::Deserialize;
use thiserror::Error;

use super::der::Node;

/// An object identifier: `2.5.4.3`, or a name of [`NAMED`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Oid(pub String);

impl Oid {
    /// The encoded content octets.
    pub fn content(&self) -> Vec<u8> {
        let arcs: Vec<u128> = self
            .0
            .split('.')
            .map(|arc| arc.parse().expect("checked on the way in"))
            .collect();
        let (first, rest) = arcs.split_at(2);
        std::iter::once(first[0] * 40 + first[1])
            .chain(rest.iter().copied())
            .flat_map(base128)
            .collect()
    }

    /// The OBJECT IDENTIFIER element.
    pub fn node(&self) -> Node {
        Node::oid(self.content())
    }
}

/// A known object identifier. Panics on an unknown name.
pub fn oid(name: &str) -> Oid {
    Oid::try_from(name.to_owned()).expect("a known identifier")
}

/// The error for text that is not an object identifier.
#[derive(Debug, Error)]
#[error("`{0}` is neither a dotted object identifier nor a known name")]
pub struct UnknownOid(String);

impl TryFrom<String> for Oid {
    type Error = UnknownOid;

    fn try_from(text: String) -> Result<Self, UnknownOid> {
        if let Some((_, dotted)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Self((*dotted).to_owned()));
        }
        let arcs = text
            .split('.')
            .map(str::parse::<u128>)
            .collect::<Result<Vec<_>, _>>();
        match arcs {
            Ok(arcs) if arcs.len() >= 2 => Ok(Self(text)),
            _ => Err(UnknownOid(text)),
        }
    }
}

fn base128(arc: u128) -> Vec<u8> {
    let mut out = vec![(arc & 0x7f) as u8];
    let mut rest = arc >> 7;
    while rest > 0 {
        out.insert(0, (rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out
}

/// The names that a recipe may use, with their object identifiers.
pub const NAMED: &[(&str, &str)] = &[
    // Subject attributes, RFC 4519 and PKCS#9.
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("street", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("postalCode", "2.5.4.17"),
    ("GN", "2.5.4.42"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    // Attributes, PKCS#9 and Microsoft's.
    ("unstructuredName", "1.2.840.113549.1.9.2"),
    ("challengePassword", "1.2.840.113549.1.9.7"),
    ("extensionRequest", "1.2.840.113549.1.9.14"),
    ("msExtensionRequest", "1.3.6.1.4.1.311.2.1.14"),
    // Extensions, RFC 5280.
    ("subjectKeyIdentifier", "2.5.29.14"),
    ("keyUsage", "2.5.29.15"),
    ("subjectAltName", "2.5.29.17"),
    ("issuerAltName", "2.5.29.18"),
    ("basicConstraints", "2.5.29.19"),
    ("nameConstraints", "2.5.29.30"),
    ("certificatePolicies", "2.5.29.32"),
    ("extKeyUsage", "2.5.29.37"),
    ("tlsFeature", "1.3.6.1.5.5.7.1.24"),
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("anyExtKeyUsage", "2.5.29.37.0"),
    ("anyPolicy", "2.5.29.32.0"),
    ("msUPN", "1.3.6.1.4.1.311.20.2.3"),
    // Keys.
    ("ecPublicKey", "1.2.840.10045.2.1"),
    ("P-224", "1.3.132.0.33"),
    ("P-256", "1.2.840.10045.3.1.7"),
    ("P-384", "1.3.132.0.34"),
    ("P-521", "1.3.132.0.35"),
    ("secp256k1", "1.3.132.0.10"),
    ("rsaEncryption", "1.2.840.113549.1.1.1"),
    ("Ed25519", "1.3.101.112"),
    ("X25519", "1.3.101.110"),
    ("Ed448", "1.3.101.113"),
    ("dsa", "1.2.840.10040.4.1"),
    // Signatures, and the algorithms in their parameters.
    ("ecdsa-sha1", "1.2.840.10045.4.1"),
    ("ecdsa-sha224", "1.2.840.10045.4.3.1"),
    ("ecdsa-sha256", "1.2.840.10045.4.3.2"),
    ("ecdsa-sha384", "1.2.840.10045.4.3.3"),
    ("ecdsa-sha512", "1.2.840.10045.4.3.4"),
    ("rsa-md5", "1.2.840.113549.1.1.4"),
    ("rsa-sha1", "1.2.840.113549.1.1.5"),
    ("rsa-pss", "1.2.840.113549.1.1.10"),
    ("rsa-sha256", "1.2.840.113549.1.1.11"),
    ("rsa-sha384", "1.2.840.113549.1.1.12"),
    ("rsa-sha512", "1.2.840.113549.1.1.13"),
    ("mgf1", "1.2.840.113549.1.1.8"),
    ("sha256", "2.16.840.1.101.3.4.2.1"),
    ("sha384", "2.16.840.1.101.3.4.2.2"),
    ("sha512", "2.16.840.1.101.3.4.2.3"),
];
