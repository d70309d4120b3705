//! RSA signatures: by ring, or by textbook arithmetic for weak parameters that ring refuses.

use p521::elliptic_curve::bigint::{
    Odd, U1024, U2048,
    modular::{FixedMontyForm, FixedMontyParams},
};
use ring::{digest, rand::SystemRandom, signature as sig};

use super::{algorithm::Algorithm, der::Node};

/// The checked-in test keys. They protect nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Bits1024,
    Bits2048,
    Bits3072,
    Bits4096,
}

/// The fields of RSAPrivateKey (RFC 8017 A.1.2) that signing needs.
struct Private {
    der: Vec<u8>,
    modulus: Vec<u8>,
    public: Vec<u8>,
    private: Vec<u8>,
}

impl Size {
    fn load(self) -> Private {
        let pem: &[u8] = match self {
            Self::Bits1024 => include_bytes!("keys/test-only-rsa1024.pem"),
            Self::Bits2048 => include_bytes!("keys/test-only-rsa2048.pem"),
            Self::Bits3072 => include_bytes!("keys/test-only-rsa3072.pem"),
            Self::Bits4096 => include_bytes!("keys/test-only-rsa4096.pem"),
        };
        let (_, der) = pem_rfc7468::decode_vec(pem).expect("a checked-in key");
        let (_, body) = x509_parser::der_parser::parse_der(&der).expect("a checked-in key");
        let fields = body.as_sequence().expect("RSAPrivateKey is a sequence");
        let field = |index: usize| fields[index].as_slice().expect("an integer").to_vec();
        Private {
            modulus: field(1),
            public: field(2),
            private: field(3),
            der,
        }
    }

    /// RSAPublicKey.
    pub fn public_key(self) -> Node {
        let key = self.load();
        Node::sequence(vec![
            Node::unsigned(&key.modulus).named("modulus"),
            Node::unsigned(&key.public).named("exponent"),
        ])
        .named("rsa")
    }

    /// Signs with PKCS#1 v1.5 or PSS, depending on the algorithm.
    pub fn sign(self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let key = self.load();
        let padding: &dyn sig::RsaEncoding = match algorithm {
            Algorithm::RsaSha256 => &sig::RSA_PKCS1_SHA256,
            Algorithm::RsaSha384 => &sig::RSA_PKCS1_SHA384,
            Algorithm::RsaSha512 => &sig::RSA_PKCS1_SHA512,
            Algorithm::RsaPssSha256 => &sig::RSA_PSS_SHA256,
            Algorithm::RsaPssSha384 => &sig::RSA_PSS_SHA384,
            Algorithm::RsaPssSha512 => &sig::RSA_PSS_SHA512,
            _ => return key.textbook(algorithm, message),
        };
        if self == Self::Bits1024 {
            return key.textbook(algorithm, message);
        }
        let pair = sig::RsaKeyPair::from_der(&key.der).expect("a checked-in key");
        let mut out = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut out)
            .expect("signing");
        out
    }
}

impl Private {
    /// Signs with PKCS#1 v1.5 (RFC 8017 8.2.1). Ring signs neither with 1024 bits nor with SHA-1.
    fn textbook(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        // DigestInfo up to the digest, RFC 8017 9.2 note 1.
        let (digest, prefix): (_, &[u8]) = match algorithm {
            Algorithm::RsaSha1 => (
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                &[
                    0x30, 0x21, 0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0, 4, 0x14,
                ],
            ),
            Algorithm::RsaSha256 => (
                &digest::SHA256,
                &[
                    0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4,
                    0x20,
                ],
            ),
            other => panic!("the forge cannot sign `{other:?}` with this RSA key; use a fixture"),
        };
        let hash = digest::digest(digest, message);
        let size = self.modulus.len() - usize::from(self.modulus.first() == Some(&0));
        let mut padded = vec![0, 1];
        padded.resize(size - prefix.len() - hash.as_ref().len() - 1, 0xff);
        padded.push(0);
        padded.extend_from_slice(prefix);
        padded.extend_from_slice(hash.as_ref());
        match size {
            128 => power_1024(&padded, &self.private, &self.modulus),
            256 => power_2048(&padded, &self.private, &self.modulus),
            other => panic!("the forge has no textbook RSA of {} bits", other * 8),
        }
    }
}

macro_rules! power {
    ($name:ident, $uint:ty, $size:literal) => {
        fn $name(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
            let load = |octets: &[u8]| {
                let significant = &octets[octets.len().saturating_sub($size)..];
                let mut wide = [0; $size];
                wide[$size - significant.len()..].copy_from_slice(significant);
                <$uint>::from_be_slice(&wide)
            };
            let modulus = Odd::new(load(modulus)).expect("an RSA modulus is odd");
            let params = FixedMontyParams::new_vartime(modulus);
            let power = FixedMontyForm::new(&load(base), &params)
                .pow(&load(exponent))
                .retrieve();
            power.to_be_bytes().as_ref().to_vec()
        }
    };
}

power!(power_1024, U1024, 128);
power!(power_2048, U2048, 256);
