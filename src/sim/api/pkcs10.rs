//! Certification requests as the API server's Go reads them before it stores one: leniently.
//!
//! It looks for the first PEM block, demands DER and a signature that verifies, and little else;
//! what is wrong beyond that is the approver's to find. Signatures that this server has no means
//! to verify (P-224, ECDSA with SHA-1, PSS) are let through unverified.

use k8s_openapi::ByteString;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// What the server itself wants to know of a request.
#[derive(Debug)]
pub(super) struct Subject {
    /// The last common name, as Go has it.
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
}

/// Reads and verifies; the error is the text that the original has, more or less.
pub(super) fn read(encoded: &[u8]) -> Result<Subject, String> {
    let block = first_block(encoded).filter(|block| block.label == "CERTIFICATE REQUEST");
    let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    if !lengths_are_minimal(&block.der, 0) {
        return Err("asn1: structure error: non-minimal length".into());
    }
    let (rest, request) = X509CertificationRequest::from_der(&block.der)
        .map_err(|error| format!("asn1: structure error: {error}"))?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    let info = &request.certification_request_info;
    check_extensions(&request)?;
    verify(&request)?;
    let text = |value: Result<&str, _>| value.ok().map(str::to_owned);
    let names = info.subject.iter_common_name();
    Ok(Subject {
        common_name: names
            .filter_map(|name| text(name.as_str()))
            .last()
            .unwrap_or_default(),
        organizations: info
            .subject
            .iter_organization()
            .filter_map(|name| text(name.as_str()))
            .collect(),
    })
}

struct Block {
    label: String,
    der: Vec<u8>,
    headers: bool,
    /// Where the next one may begin.
    end: usize,
}

/// The first block that can be read; what is before it is passed over (`encoding/pem`).
fn first_block(encoded: &[u8]) -> Option<Block> {
    let text = String::from_utf8_lossy(encoded);
    let mut at = 0_usize;
    let mut open: Option<(String, String, bool)> = None;
    for line in text.split_inclusive('\n') {
        at = at.saturating_add(line.len());
        let line = line.trim_end();
        let marked = |mark: &str| {
            let label = line.strip_prefix(mark)?.strip_suffix("-----")?;
            Some(label.to_owned())
        };
        if let Some(label) = marked("-----BEGIN ") {
            open = Some((label, String::new(), false));
        } else if let Some(ending) = marked("-----END ") {
            if let Some((label, body, headers)) = open.take()
                && label == ending
                && let Ok(bytes) = serde_json::from_value::<ByteString>(body.into())
            {
                return Some(Block {
                    label,
                    der: bytes.0,
                    headers,
                    end: at,
                });
            }
        } else if let Some((_, body, headers)) = &mut open {
            if line.contains(':') {
                *headers = true;
            } else {
                body.push_str(line);
            }
        }
    }
    None
}

/// Whether each length is written as shortly as DER demands, in what is built of parts.
fn lengths_are_minimal(mut der: &[u8], depth: usize) -> bool {
    const DEEPEST: usize = 32;
    while let [tag, first, rest @ ..] = der {
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(*first & 0x7f);
            let Some((bytes, rest)) = rest.split_at_checked(count).filter(|_| count <= 4) else {
                return false;
            };
            let length = bytes
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            if length < 0x80 || bytes.first() == Some(&0) {
                return false;
            }
            (length, rest)
        };
        let Some((content, after)) = rest.split_at_checked(length) else {
            return false;
        };
        let constructed = *tag & 0x20 != 0;
        if constructed && (depth > DEEPEST || !lengths_are_minimal(content, depth + 1)) {
            return false;
        }
        der = after;
    }
    true
}

fn check_extensions(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let mut seen = Vec::new();
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(wanted) = attribute.parsed_attribute() else {
            continue;
        };
        for extension in &wanted.extensions {
            if seen.contains(&&extension.oid) {
                return Err(
                    "x509: certificate request contains duplicate requested extensions".into(),
                );
            }
            seen.push(&extension.oid);
            if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
                san.general_names.iter().try_for_each(check_name)?;
            }
        }
    }
    Ok(())
}

fn check_name(name: &GeneralName<'_>) -> Result<(), String> {
    if let GeneralName::IPAddress(bytes) = name
        && ![4, 16].contains(&bytes.len())
    {
        return Err(format!(
            "x509: cannot parse IP address of length {}",
            bytes.len()
        ));
    }
    let text: &[u8] = match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            text.as_bytes()
        }
        // Text that is none, in the places of those three.
        GeneralName::Invalid(tag, bytes) if [1, 2, 6].contains(&tag.0) => bytes,
        GeneralName::Invalid(..)
        | GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => &[],
    };
    if text.is_ascii() {
        Ok(())
    } else {
        Err("x509: SAN is not a valid IA5String".into())
    }
}

const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";
const P224: &str = "1.3.132.0.33";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

fn verify(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let info = &request.certification_request_info;
    let key = info.subject_pki.algorithm.algorithm.to_id_string();
    let parameters = info.subject_pki.algorithm.parameters.as_ref();
    let curve = parameters
        .and_then(|any| any.as_oid().ok())
        .map(|oid| oid.to_id_string());
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    let known = match key.as_str() {
        EC => {
            let curve = curve.unwrap_or_default();
            if ![P224, P256, P384, P521].contains(&curve.as_str()) {
                return Err("x509: unsupported elliptic curve".into());
            }
            ecdsa(&curve, &algorithm)
        }
        RSA => rsa(&algorithm),
        ED25519 if algorithm == ED25519 => Known::Verified(&signature::ED25519),
        _ => Known::Refused,
    };
    let verification = match known {
        Known::Verified(verification) => verification,
        Known::Unverified => return Ok(()),
        Known::Refused => {
            return Err("x509: cannot verify signature: algorithm unimplemented".into());
        }
    };
    UnparsedPublicKey::new(verification, &info.subject_pki.subject_public_key.data)
        .verify(info.raw, &request.signature_value.data)
        .map_err(|_| "x509: signature verification failure".into())
}

enum Known {
    Verified(&'static dyn VerificationAlgorithm),
    Unverified,
    Refused,
}

fn ecdsa(curve: &str, algorithm: &str) -> Known {
    let Some(digest) = algorithm.strip_prefix("1.2.840.10045.4.") else {
        return Known::Refused;
    };
    match (curve, digest) {
        (P256, "3.2") => Known::Verified(&signature::ECDSA_P256_SHA256_ASN1),
        (P256, "3.3") => Known::Verified(&signature::ECDSA_P256_SHA384_ASN1),
        (P384, "3.2") => Known::Verified(&signature::ECDSA_P384_SHA256_ASN1),
        (P384, "3.3") => Known::Verified(&signature::ECDSA_P384_SHA384_ASN1),
        (_, "1" | "3.2" | "3.3" | "3.4") => Known::Unverified,
        (_, _) => Known::Refused,
    }
}

fn rsa(algorithm: &str) -> Known {
    match algorithm {
        "1.2.840.113549.1.1.5" => {
            Known::Verified(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY)
        }
        "1.2.840.113549.1.1.11" => {
            Known::Verified(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
        }
        "1.2.840.113549.1.1.12" => Known::Verified(&signature::RSA_PKCS1_2048_8192_SHA384),
        "1.2.840.113549.1.1.13" => {
            Known::Verified(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
        }
        // PSS.
        "1.2.840.113549.1.1.10" => Known::Unverified,
        _ => Known::Refused,
    }
}

/// What a signer may write: at least one certificate, nothing but certificates.
pub(super) fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut rest = pem;
    let mut found = 0_usize;
    while let Some(block) = first_block(rest) {
        if block.label != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        if block.headers {
            return Err("no PEM block headers are permitted".into());
        }
        x509_parser::certificate::X509Certificate::from_der(&block.der)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
        found = found.saturating_add(1);
        rest = rest.get(block.end..).unwrap_or_default();
    }
    if found == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request() -> String {
        let mut params = rcgen::CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:node:node-1");
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "system:nodes");
        let key = rcgen::KeyPair::generate().unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_is_read_after_text_that_is_none() {
        let pem = request();
        let subject = read(format!("some words\n{pem}\nmore").as_bytes()).unwrap();
        assert_eq!(subject.common_name, "system:node:node-1");
        assert_eq!(subject.organizations, ["system:nodes"]);
    }

    #[test]
    fn what_the_original_refuses_is_refused() {
        let pem = request();
        for (wrong, why) in [
            (String::new(), "PEM block type"),
            (
                pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
                "PEM block type",
            ),
            (pem.replace("-----END", "-----ENDED"), "PEM block type"),
        ] {
            let error = read(wrong.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let mut der = first_block(pem.as_bytes()).unwrap().der;
        der.push(0);
        let encode = |der: Vec<u8>| {
            let text = serde_json::to_value(ByteString(der)).unwrap();
            format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
                text.as_str().unwrap()
            )
        };
        assert!(read(encode(der.clone()).as_bytes()).is_err());
        der.pop();
        read(encode(der.clone()).as_bytes()).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let error = read(encode(der).as_bytes()).unwrap_err();
        assert!(error.contains("signature"), "{error}");
    }
}
