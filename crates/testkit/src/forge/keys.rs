//! Signing keys that are the same in every run.
//!
//! An elliptic curve key is derived from its seed, so `Key::p256("node-1")` is always the same key and
//! every request is reproducible. RSA keys are checked in, one for each size.

use std::cell::RefCell;
use std::collections::HashMap;

use ring::{digest, signature::KeyPair as _};
use serde::Deserialize;

use super::{
    algorithm::{Algorithm, Signed},
    der::Node,
    oid::oid,
    rsa::Size,
};

/// The kinds of key that the forge can sign with. For others see [`super::fixture`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    #[default]
    P256,
    P384,
    P521,
    Ed25519,
    Rsa1024,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

/// A signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub kind: KeyKind,
    /// The seed of an elliptic curve key; RSA ignores it.
    pub seed: String,
}

impl Key {
    pub fn new(kind: KeyKind, seed: impl Into<String>) -> Self {
        Self {
            kind,
            seed: seed.into(),
        }
    }

    pub fn p256(seed: &str) -> Self {
        Self::new(KeyKind::P256, seed)
    }

    pub fn p384(seed: &str) -> Self {
        Self::new(KeyKind::P384, seed)
    }

    pub fn p521(seed: &str) -> Self {
        Self::new(KeyKind::P521, seed)
    }

    pub fn ed25519(seed: &str) -> Self {
        Self::new(KeyKind::Ed25519, seed)
    }

    pub fn rsa(kind: KeyKind) -> Self {
        Self::new(kind, "")
    }

    /// The algorithm that Go signs with by default.
    pub fn default_algorithm(&self) -> Algorithm {
        match self.kind {
            KeyKind::P256 => Algorithm::EcdsaSha256,
            KeyKind::P384 => Algorithm::EcdsaSha384,
            KeyKind::P521 => Algorithm::EcdsaSha512,
            KeyKind::Ed25519 => Algorithm::Ed25519,
            KeyKind::Rsa1024 | KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                Algorithm::RsaSha256
            }
        }
    }

    /// The SubjectPublicKeyInfo; `compressed` selects the short form of an elliptic curve point.
    pub fn spki(&self, compressed: bool) -> Node {
        let (algorithm, key) = match self.kind {
            KeyKind::P256 => self.curve(
                "P-256",
                p256_key(&self.seed)
                    .verifying_key()
                    .to_sec1_point(compressed)
                    .as_bytes(),
            ),
            KeyKind::P384 => self.curve(
                "P-384",
                p384_key(&self.seed)
                    .verifying_key()
                    .to_sec1_point(compressed)
                    .as_bytes(),
            ),
            KeyKind::P521 => self.curve(
                "P-521",
                p521_key(&self.seed)
                    .verifying_key()
                    .to_sec1_point(compressed)
                    .as_bytes(),
            ),
            KeyKind::Ed25519 => (
                vec![oid("Ed25519").node()],
                Node::bit_string(ed25519_key(&self.seed).public_key().as_ref()),
            ),
            KeyKind::Rsa1024 => rsa(Size::Bits1024),
            KeyKind::Rsa2048 => rsa(Size::Bits2048),
            KeyKind::Rsa3072 => rsa(Size::Bits3072),
            KeyKind::Rsa4096 => rsa(Size::Bits4096),
        };
        let algorithm = Node::sequence(algorithm).named("algorithm");
        Node::sequence(vec![algorithm, key.named("key")]).named("spki")
    }

    fn curve(&self, name: &str, point: &[u8]) -> (Vec<Node>, Node) {
        let parameters = oid(name).node().named("parameters");
        (
            vec![oid("ecPublicKey").node(), parameters],
            Node::bit_string(point),
        )
    }

    /// The P-256 key of this seed for frequent signing. It is several times as fast, and its
    /// signatures are random.
    pub fn p256_pair(&self) -> ring::signature::EcdsaKeyPair {
        let key = p256_key(&self.seed);
        ring::signature::EcdsaKeyPair::from_private_key_and_public_key(
            &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &key.to_bytes(),
            key.verifying_key().to_sec1_point(false).as_bytes(),
            &ring::rand::SystemRandom::new(),
        )
        .expect("a scalar and its point")
    }

    /// Signs `message`. Panics if this key does not support `algorithm`.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Signed {
        use p521::ecdsa::signature::hazmat::PrehashSigner as _;
        let hash = || digest::digest(algorithm.ecdsa_digest(), message);
        match self.kind {
            KeyKind::P256 => {
                let made: p256::ecdsa::Signature = p256_key(&self.seed)
                    .sign_prehash(hash().as_ref())
                    .expect("signing");
                Signed::ecdsa(&made.to_bytes())
            }
            KeyKind::P384 => {
                let made: p384::ecdsa::Signature = p384_key(&self.seed)
                    .sign_prehash(hash().as_ref())
                    .expect("signing");
                Signed::ecdsa(&made.to_bytes())
            }
            KeyKind::P521 => {
                let made: p521::ecdsa::Signature = p521_key(&self.seed)
                    .sign_prehash(hash().as_ref())
                    .expect("signing");
                Signed::ecdsa(&made.to_bytes())
            }
            KeyKind::Ed25519 => {
                Signed::Plain(ed25519_key(&self.seed).sign(message).as_ref().to_vec())
            }
            KeyKind::Rsa1024 => Signed::Plain(Size::Bits1024.sign(algorithm, message)),
            KeyKind::Rsa2048 => Signed::Plain(Size::Bits2048.sign(algorithm, message)),
            KeyKind::Rsa3072 => Signed::Plain(Size::Bits3072.sign(algorithm, message)),
            KeyKind::Rsa4096 => Signed::Plain(Size::Bits4096.sign(algorithm, message)),
        }
    }
}

fn rsa(size: Size) -> (Vec<Node>, Node) {
    let parameters = Node::null().named("parameters");
    (
        vec![oid("rsaEncryption").node(), parameters],
        Node::bit_string_of(vec![size.public_key()]),
    )
}

/// The key of most requests. Its public point is half of the work of a signature, so keys are kept.
fn p256_key(seed: &str) -> p256::ecdsa::SigningKey {
    thread_local! {
        static KEPT: RefCell<HashMap<String, p256::ecdsa::SigningKey>> = RefCell::default();
    }
    let kept = KEPT.with_borrow(|keys| keys.get(seed).cloned());
    kept.unwrap_or_else(|| {
        let key = scalar("p256", seed, |s: &[u8; 32]| {
            p256::ecdsa::SigningKey::from_slice(s).ok()
        });
        KEPT.with_borrow_mut(|keys| keys.insert(seed.to_owned(), key.clone()));
        key
    })
}

fn p384_key(seed: &str) -> p384::ecdsa::SigningKey {
    scalar("p384", seed, |s: &[u8; 48]| {
        p384::ecdsa::SigningKey::from_slice(s).ok()
    })
}

fn p521_key(seed: &str) -> p521::ecdsa::SigningKey {
    scalar("p521", seed, |s: &[u8; 66]| {
        // 521 bits have only the lowest bit of the first octet.
        let mut s = *s;
        s[0] &= 1;
        p521::ecdsa::SigningKey::from_slice(&s).ok()
    })
}

fn ed25519_key(seed: &str) -> ring::signature::Ed25519KeyPair {
    scalar("ed25519", seed, |s: &[u8; 32]| {
        ring::signature::Ed25519KeyPair::from_seed_unchecked(s).ok()
    })
}

/// A scalar from the seed, derived again in the rare case that the octets are not valid on the curve.
fn scalar<const N: usize, K>(curve: &str, seed: &str, accept: impl Fn(&[u8; N]) -> Option<K>) -> K {
    (0_u32..)
        .find_map(|attempt| {
            let mut octets = [0; N];
            for (index, chunk) in octets.chunks_mut(32).enumerate() {
                let input = format!("csr-warden test key {curve}/{attempt}/{index}/{seed}");
                let hash = digest::digest(&digest::SHA256, input.as_bytes());
                chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
            }
            accept(&octets)
        })
        .expect("some attempt gives a scalar")
}
