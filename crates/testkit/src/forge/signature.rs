//! The self-signature of a request, and its faults.

use serde::Deserialize;

use super::{
    algorithm::{Algorithm, Signed},
    der::Node,
    keys::Key,
};

/// A fault of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// One bit is wrong.
    Flip,
    /// There are no octets.
    Empty,
    /// Right length, all zero (r = s = 0 for ECDSA).
    Zero,
    /// A valid signature over other bytes.
    OtherContent,
    /// ECDSA as the concatenation of r and s (IEEE P1363), not as DER.
    P1363,
}

/// The bytes that the signature covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The bytes as they are sent.
    #[default]
    Sent,
    /// The canonical DER without faults, as a verifier sees it that decodes and encodes again.
    Canonical,
}

/// The signature part of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureRecipe {
    /// The signature algorithm; by default the one that Go chooses for the key.
    pub algorithm: Option<Algorithm>,
    /// The algorithm in the AlgorithmIdentifier; by default the one that signs.
    pub named: Option<Algorithm>,
    /// The seed of the key that signs; by default the key in the request.
    pub signer: Option<String>,
    pub over: Over,
    #[serde(rename = "break")]
    pub broken: Option<Break>,
}

impl SignatureRecipe {
    /// Encodes the signature over `sent`, or over `canonical` if the recipe selects that.
    pub fn node(&self, key: &Key, sent: &[u8], canonical: &[u8]) -> Node {
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
    pub fn algorithm_node(&self, key: &Key) -> Node {
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
