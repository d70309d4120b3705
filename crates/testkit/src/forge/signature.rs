//! The self-signature, and how to get it wrong.

use ring::digest;
use serde::Deserialize;

use super::{der::Node, oid::oid};

/// What a request can be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    EcdsaSha1,
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    /// Only to be named: the forge cannot sign with MD5, a fixture can.
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

/// A made signature, not yet wrapped.
#[derive(Clone, Debug)]
pub enum Signed {
    /// ECDSA's two numbers, big-endian, each as wide as the curve.
    Ecdsa(Vec<u8>, Vec<u8>),
    /// Octets that go into the BIT STRING as they are.
    Plain(Vec<u8>),
}

impl Signed {
    pub(super) fn ecdsa(fixed: &[u8]) -> Self {
        let (r, s) = fixed.split_at(fixed.len() / 2);
        Self::Ecdsa(r.to_vec(), s.to_vec())
    }

    fn node(self) -> Node {
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

/// How the signature differs from the one that belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// One bit is wrong.
    Flip,
    /// There are no octets.
    Empty,
    /// Right length, all zero (r = s = 0 for ECDSA).
    Zero,
    /// A true signature over other bytes.
    OtherContent,
    /// ECDSA as r and s side by side (IEEE P1363), not as DER.
    P1363,
}

/// What the signature covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The octets as they are sent.
    #[default]
    Sent,
    /// The octets as DER would have them before any fault: what a verifier checks that decodes and encodes again.
    Canonical,
}

/// The signature part of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureRecipe {
    /// What signs; by default what Go would choose for the key.
    pub algorithm: Option<Algorithm>,
    /// What the AlgorithmIdentifier says, when that is something else.
    pub named: Option<Algorithm>,
    /// Signs with the key of this seed instead of the one in the request.
    pub signer: Option<String>,
    pub over: Over,
    #[serde(rename = "break")]
    pub broken: Option<Break>,
}

impl SignatureRecipe {
    /// The signature element over `sent`, or over `canonical` if the recipe says so.
    pub fn node(&self, key: &super::keys::Key, sent: &[u8], canonical: &[u8]) -> Node {
        let mut key = key.clone();
        if let Some(signer) = &self.signer {
            key.seed.clone_from(signer);
        }
        let message = match (self.broken, self.over) {
            (Some(Break::OtherContent), _) => b"something else",
            (_, Over::Sent) => sent,
            (_, Over::Canonical) => canonical,
        };
        let made = key.sign(self.algorithm.unwrap_or(key.default_algorithm()), message);
        let zeros = |octets: Vec<u8>| vec![0; octets.len()];
        let made = match (self.broken, made) {
            (None | Some(Break::OtherContent), made) => made,
            (Some(Break::Empty), _) => Signed::Plain(Vec::new()),
            (Some(Break::Zero), Signed::Ecdsa(r, s)) => Signed::Ecdsa(zeros(r), zeros(s)),
            (Some(Break::Zero), Signed::Plain(octets)) => Signed::Plain(zeros(octets)),
            (Some(Break::Flip), Signed::Ecdsa(r, s)) => Signed::Ecdsa(r, flip(s)),
            (Some(Break::Flip), Signed::Plain(octets)) => Signed::Plain(flip(octets)),
            (Some(Break::P1363), Signed::Ecdsa(r, s)) => Signed::Plain([r, s].concat()),
            (Some(Break::P1363), Signed::Plain(_)) => panic!("`p1363` is for an ECDSA key"),
        };
        made.node()
    }

    /// The AlgorithmIdentifier of the request.
    pub fn algorithm_node(&self, key: &super::keys::Key) -> Node {
        self.named
            .or(self.algorithm)
            .unwrap_or(key.default_algorithm())
            .node()
    }
}

fn flip(mut octets: Vec<u8>) -> Vec<u8> {
    if let Some(last) = octets.last_mut() {
        *last ^= 1;
    }
    octets
}
