//! The key of a request, and the signature that proves its possession.
//!
//! Accepted are the keys that a kubelet can create and that Go's x509 signs with: ECDSA on P-256,
//! P-384 and P-521, RSA PKCS#1 v1.5 of 2048 to 4096 bits, and Ed25519. Digests are SHA-2.

use std::fmt;

use der::asn1::{Any, ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use p521::ecdsa::signature::Verifier;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::finding::Code;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

/// SHA-256 of a key's SubjectPublicKeyInfo, or of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a SubjectPublicKeyInfo or certificate in DER.
    pub fn of(der: &[u8]) -> Fingerprint {
        let mut bytes = [0; 32];
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Fingerprint(bytes)
    }

    /// Parses 64 hexadecimal digits, as [`fmt::Display`] writes them.
    pub fn parse(hexadecimal: &str) -> Option<Fingerprint> {
        let mut bytes = [0; 32];
        let mut digits = hexadecimal.chars().map(|c| c.to_digit(16));
        for byte in &mut bytes {
            let (high, low) = (digits.next()??, digits.next()??);
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        digits.next().is_none().then_some(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// RSAPublicKey (RFC 8017, A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Verifies the key, and its signature over `signed`. The error is the code and detail of a finding.
pub(super) fn verify(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signed_with: &[u8],
) -> Result<(), (Code, String)> {
    let key_type = key_type(key).map_err(|detail| (Code::KeyRefused, detail))?;
    let bytes = key.subject_public_key.as_bytes().unwrap_or_default();
    let refused = || {
        let detail = format!(
            "expected a SHA-2 signature that matches the key ({key_type:?}), found algorithm {}",
            algorithm.oid
        );
        (Code::SignatureAlgorithmRefused, detail)
    };
    let verified = if key_type == KeyType::P521 {
        if algorithm.oid != ECDSA_SHA512 || algorithm.parameters.is_some() {
            return Err(refused());
        }
        verify_p521(bytes, signed, signed_with)
    } else {
        let verification = ring_algorithm(key_type, algorithm).ok_or_else(refused)?;
        UnparsedPublicKey::new(verification, bytes)
            .verify(signed, signed_with)
            .is_ok()
    };
    if verified {
        Ok(())
    } else {
        let detail = "the signature does not verify with the key in the request".into();
        Err((Code::SignatureInvalid, detail))
    }
}

fn key_type(key: &SubjectPublicKeyInfoOwned) -> Result<KeyType, String> {
    let algorithm = &key.algorithm;
    let bytes = key
        .subject_public_key
        .as_bytes()
        .ok_or("the public key is not a whole number of bytes")?;
    let expect_bytes = |key_type: KeyType, length: usize| {
        if bytes.len() == length {
            Ok(key_type)
        } else {
            Err(format!(
                "expected {length} bytes of an uncompressed {key_type:?} key, found {}",
                bytes.len()
            ))
        }
    };
    if algorithm.oid == EC_PUBLIC_KEY {
        let curve = algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        match curve {
            Some(P256) => expect_bytes(KeyType::P256, 65),
            Some(P384) => expect_bytes(KeyType::P384, 97),
            Some(P521) => expect_bytes(KeyType::P521, 133),
            Some(other) => Err(format!(
                "expected curve P-256, P-384 or P-521, found {other}"
            )),
            None => Err("an elliptic curve key without a named curve".into()),
        }
    } else if algorithm.oid == RSA && is_null(&algorithm.parameters) {
        rsa_size(bytes)
    } else if algorithm.oid == ED25519 && algorithm.parameters.is_none() {
        expect_bytes(KeyType::Ed25519, 32)
    } else {
        Err(format!(
            "expected an ECDSA, RSA or Ed25519 key, found {}",
            algorithm.oid
        ))
    }
}

fn rsa_size(bytes: &[u8]) -> Result<KeyType, String> {
    let key = RsaPublicKey::from_der(bytes)
        .ok()
        .filter(|key| key.to_der().is_ok_and(|again| again == bytes))
        .ok_or("the RSA key is not in canonical DER")?;
    let leading = key
        .modulus
        .as_bytes()
        .first()
        .map_or(8, |b| b.leading_zeros() as usize);
    let bits = (key.modulus.as_bytes().len() * 8).saturating_sub(leading);
    if (2048..=4096).contains(&bits) {
        Ok(KeyType::Rsa)
    } else {
        Err(format!(
            "expected an RSA key of 2048 to 4096 bits, found {bits}"
        ))
    }
}

fn ring_algorithm(
    key_type: KeyType,
    algorithm: &AlgorithmIdentifierOwned,
) -> Option<&'static dyn VerificationAlgorithm> {
    let absent = algorithm.parameters.is_none();
    let null = is_null(&algorithm.parameters);
    let verification: &'static dyn VerificationAlgorithm = match (key_type, algorithm.oid) {
        (KeyType::P256, ECDSA_SHA256) if absent => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyType::P256, ECDSA_SHA384) if absent => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyType::P384, ECDSA_SHA256) if absent => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyType::P384, ECDSA_SHA384) if absent => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyType::Rsa, RSA_SHA256) if null => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyType::Rsa, RSA_SHA384) if null => &signature::RSA_PKCS1_2048_8192_SHA384,
        (KeyType::Rsa, RSA_SHA512) if null => &signature::RSA_PKCS1_2048_8192_SHA512,
        (KeyType::Ed25519, ED25519) if absent => &signature::ED25519,
        _ => return None,
    };
    Some(verification)
}

fn verify_p521(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = p521::ecdsa::VerifyingKey::from_sec1_bytes(key) else {
        return false;
    };
    p521::ecdsa::DerSignature::try_from(signature)
        .is_ok_and(|signature| key.verify(signed, &signature).is_ok())
}

fn is_null(parameters: &Option<Any>) -> bool {
    parameters.as_ref().is_some_and(Any::is_null)
}

#[cfg(test)]
#[allow(clippy::string_slice, clippy::unwrap_used)]
mod tests {
    use super::*;
    use x509_cert::der::asn1::BitString;

    /// An AlgorithmIdentifier without parameters, with NULL and with an integer.
    fn identifiers(oid: ObjectIdentifier) -> [AlgorithmIdentifierOwned; 3] {
        let integer = Any::new(der::Tag::Integer, [1]).unwrap();
        [None, Some(Any::null()), Some(integer)]
            .map(|parameters| AlgorithmIdentifierOwned { oid, parameters })
    }

    const ABSENT: [bool; 3] = [true, false, false];
    const NULL: [bool; 3] = [false, true, false];
    const NEVER: [bool; 3] = [false, false, false];

    #[test]
    fn a_signature_algorithm_has_the_parameters_that_go_gives_it() {
        use KeyType::{Ed25519, P256, P384, Rsa};
        for (key, oid, expected) in [
            (P256, ECDSA_SHA256, ABSENT),
            (P256, ECDSA_SHA384, ABSENT),
            (P256, ECDSA_SHA512, NEVER),
            (P256, RSA_SHA256, NEVER),
            (P384, ECDSA_SHA256, ABSENT),
            (P384, ECDSA_SHA384, ABSENT),
            (Rsa, RSA_SHA256, NULL),
            (Rsa, RSA_SHA384, NULL),
            (Rsa, RSA_SHA512, NULL),
            (Rsa, ED25519, NEVER),
            (Ed25519, ED25519, ABSENT),
        ] {
            let taken = identifiers(oid).map(|one| ring_algorithm(key, &one).is_some());
            assert_eq!(taken, expected, "{key:?} {oid}");
        }
    }

    #[test]
    fn a_key_has_the_parameters_that_go_gives_it() {
        let rsa = RsaPublicKey {
            modulus: UintRef::new(&[0xff; 256]).unwrap(),
            exponent: UintRef::new(&[1, 0, 1]).unwrap(),
        };
        for (oid, bytes, expected) in [
            (RSA, rsa.to_der().unwrap(), NULL),
            (ED25519, vec![7; 32], ABSENT),
            (EC_PUBLIC_KEY, vec![4; 65], NEVER),
            (ECDSA_SHA256, vec![7; 32], NEVER),
        ] {
            let taken = identifiers(oid).map(|algorithm| {
                let subject_public_key = BitString::from_bytes(&bytes).unwrap();
                key_type(&SubjectPublicKeyInfoOwned {
                    algorithm,
                    subject_public_key,
                })
                .is_ok()
            });
            assert_eq!(taken, expected, "{oid}");
        }
    }

    #[test]
    fn p521_signs_with_sha512_and_without_parameters() {
        let key = SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned {
                oid: EC_PUBLIC_KEY,
                parameters: Some(Any::encode_from(&P521).unwrap()),
            },
            subject_public_key: BitString::from_bytes(&[4; 133]).unwrap(),
        };
        let said = |algorithm| verify(&key, &algorithm, b"", b"").unwrap_err().0;
        let [absent, null, _] = identifiers(ECDSA_SHA512);
        assert_eq!(said(absent), Code::SignatureInvalid);
        assert_eq!(said(null), Code::SignatureAlgorithmRefused);
        let [absent, null, _] = identifiers(ECDSA_SHA384);
        assert_eq!(said(absent), Code::SignatureAlgorithmRefused);
        assert_eq!(said(null), Code::SignatureAlgorithmRefused);
    }

    #[test]
    fn a_fingerprint_is_parsed_as_it_is_formatted() {
        let fingerprint = Fingerprint::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(fingerprint.to_string(), text);
        assert_eq!(Fingerprint::parse(text), Some(fingerprint));
        for wrong in [
            "",
            "e3",
            &text[1..],
            &format!("{text}0"),
            &text.replace('e', "g"),
        ] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
