//! A signer for many mutants with one key.

use ring::rand::SystemRandom;
use ring::signature::EcdsaKeyPair;

use crate::forge::algorithm::Signed;
use crate::forge::keys::{Key, KeyKind};
use crate::forge::pem::PemRecipe;
use crate::forge::signature::SignatureRecipe;

use super::tree::{Element, parse, write};

/// A key, with everything that does not depend on the signed message.
pub struct Signer {
    key: Key,
    /// A P-256 key that signs several times as fast as the forge, with random signatures.
    fast: Option<EcdsaKeyPair>,
    algorithm: Vec<Element>,
    random: SystemRandom,
}

impl Signer {
    pub fn new(key: Key) -> Signer {
        let algorithm = SignatureRecipe::default().algorithm_node(&key).tlv();
        Signer {
            fast: (key.kind == KeyKind::P256).then(|| key.p256_pair()),
            algorithm: parse(&algorithm).expect("an AlgorithmIdentifier"),
            random: SystemRandom::new(),
            key,
        }
    }

    /// The PEM text of a request with this content. `spoil` may change the unsigned elements: the
    /// algorithm and the signature.
    pub fn request(&self, content: Vec<u8>, spoil: impl FnOnce(&mut Vec<Element>)) -> String {
        let info = write(&[Element::new(0x30, content)]);
        let mut outside = self.algorithm.clone();
        outside.push(Element::new(0x03, [&[0], &*self.sign(&info)].concat()));
        spoil(&mut outside);
        let whole = Element::new(0x30, [info, write(&outside)].concat());
        PemRecipe::default().text(&write(&[whole]))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        if let Some(fast) = &self.fast {
            let made = fast.sign(&self.random, message);
            return made.expect("signing").as_ref().to_vec();
        }
        match self.key.sign(self.key.default_algorithm(), message) {
            Signed::Plain(octets) => octets,
            Signed::Ecdsa(r, s) => {
                let number = |octets: &[u8]| crate::forge::der::Node::unsigned(octets).tlv();
                let numbers = [number(&r), number(&s)].concat();
                write(&[Element::new(0x30, numbers)])
            }
        }
    }
}
