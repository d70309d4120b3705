//! Signature algorithms, and the signatures that they produce.

use ring::digest;
use serde::Deserialize;

use super::{der::Node, oid::oid};

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    EcdsaSha1,
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    /// For the AlgorithmIdentifier only: the forge cannot sign with MD5. A fixture has such a signature.
    RsaMd5,
    RsaSha1,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    Ed25519,
}

impl Algorithm {
    /// The AlgorithmIdentifier.
    pub fn node(self) -> Node {
        let (name, parameters) = match self {
            Self::EcdsaSha1 => ("ecdsa-sha1", None),
            Self::EcdsaSha256 => ("ecdsa-sha256", None),
            Self::EcdsaSha384 => ("ecdsa-sha384", None),
            Self::EcdsaSha512 => ("ecdsa-sha512", None),
            Self::RsaMd5 => ("rsa-md5", Some(Node::null())),
            Self::RsaSha1 => ("rsa-sha1", Some(Node::null())),
            Self::RsaSha256 => ("rsa-sha256", Some(Node::null())),
            Self::RsaSha384 => ("rsa-sha384", Some(Node::null())),
            Self::RsaSha512 => ("rsa-sha512", Some(Node::null())),
            Self::RsaPssSha256 => ("rsa-pss", Some(pss("sha256", 32))),
            Self::RsaPssSha384 => ("rsa-pss", Some(pss("sha384", 48))),
            Self::RsaPssSha512 => ("rsa-pss", Some(pss("sha512", 64))),
            Self::Ed25519 => ("Ed25519", None),
        };
        let mut children = vec![oid(name).node()];
        children.extend(parameters.map(|p| p.named("parameters")));
        Node::sequence(children).named("signature_algorithm")
    }

    /// The digest of an ECDSA signature.
    pub fn ecdsa_digest(self) -> &'static digest::Algorithm {
        match self {
            Self::EcdsaSha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::EcdsaSha256 => &digest::SHA256,
            Self::EcdsaSha384 => &digest::SHA384,
            Self::EcdsaSha512 => &digest::SHA512,
            other => panic!("`{other:?}` is not for an elliptic key; say `named` to only name it"),
        }
    }
}

/// RSASSA-PSS-params (RFC 8017 A.2.3) with MGF1 of the same digest.
fn pss(hash: &str, salt: u8) -> Node {
    let digest = || Node::sequence(vec![oid(hash).node(), Node::null()]);
    Node::sequence(vec![
        Node::constructed(0xa0, vec![digest()]),
        Node::constructed(
            0xa1,
            vec![Node::sequence(vec![oid("mgf1").node(), digest()])],
        ),
        Node::constructed(0xa2, vec![Node::unsigned(&[salt])]),
    ])
}

/// A signature that is not encoded yet.
#[derive(Clone, Debug)]
pub enum Signed {
    /// r and s of ECDSA, big-endian, each as wide as the curve.
    Ecdsa(Vec<u8>, Vec<u8>),
    /// The octets of the BIT STRING.
    Plain(Vec<u8>),
}

impl Signed {
    pub(super) fn ecdsa(fixed: &[u8]) -> Self {
        let (r, s) = fixed.split_at(fixed.len() / 2);
        Self::Ecdsa(r.to_vec(), s.to_vec())
    }

    pub(super) fn node(self) -> Node {
        match self {
            Self::Plain(octets) => Node::bit_string(&octets),
            Self::Ecdsa(r, s) => {
                let r = Node::unsigned(&r).named("r");
                let s = Node::unsigned(&s).named("s");
                Node::bit_string_of(vec![Node::sequence(vec![r, s]).named("ecdsa")])
            }
        }
        .named("signature")
    }
}
