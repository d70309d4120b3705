//! Validation of certificate requests and certificates before they are stored.
//!
//! kube-apiserver decodes them with Go's lenient parser, this server with x509-parser. The
//! conformance tests list the requests that only one of the two accepts as known differences. A
//! signature is not verified if x509-parser does not support its algorithm.

use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::{PEMError, X509Error};
use x509_parser::nom;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

/// The reason to reject a request, in almost the words of kube-apiserver.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    BlockType,
    #[error("asn1: structure error: {0}")]
    Structure(nom::Err<X509Error>),
    #[error("asn1: syntax error: trailing data")]
    TrailingData,
    #[error("x509: signature verification failure")]
    Signature,
}

/// The reason to reject certificates that a signer writes, in almost the words of kube-apiserver.
#[derive(Debug, Error)]
pub(super) enum CertificatesError {
    #[error("malformed PEM block: {0}")]
    Pem(PEMError),
    #[error("only CERTIFICATE PEM blocks are allowed, found {0:?}")]
    BlockType(String),
    #[error("x509: malformed certificate: {0}")]
    Certificate(nom::Err<X509Error>),
    #[error("must contain at least one CERTIFICATE PEM block")]
    Missing,
}

/// The parts of a request's subject that the server checks.
#[derive(Debug)]
pub(super) struct Subject {
    /// The last common name, as Go decodes it.
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
}

/// Decodes a request and verifies its signature.
pub(super) fn read(encoded: &[u8]) -> Result<Subject, RequestError> {
    // Blocks that cannot be decoded are skipped, as in Go.
    let block = Pem::iter_from_buffer(encoded).find_map(Result::ok);
    let block = block.filter(|block| block.label == "CERTIFICATE REQUEST");
    let block = block.ok_or(RequestError::BlockType)?;
    let (rest, request) =
        X509CertificationRequest::from_der(&block.contents).map_err(RequestError::Structure)?;
    if !rest.is_empty() {
        return Err(RequestError::TrailingData);
    }
    if request.verify_signature() == Err(X509Error::SignatureVerificationError) {
        return Err(RequestError::Signature);
    }
    let subject = &request.certification_request_info.subject;
    let text = |value: Result<&str, _>| value.ok().map(str::to_owned);
    Ok(Subject {
        common_name: subject
            .iter_common_name()
            .filter_map(|name| text(name.as_str()))
            .last()
            .unwrap_or_default(),
        organizations: subject
            .iter_organization()
            .filter_map(|name| text(name.as_str()))
            .collect(),
    })
}

/// Validates the certificates that a signer writes: at least one, and no other PEM block.
pub(super) fn check_certificates(pem: &[u8]) -> Result<(), CertificatesError> {
    let mut found = false;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(CertificatesError::Pem)?;
        if block.label != "CERTIFICATE" {
            return Err(CertificatesError::BlockType(block.label));
        }
        block.parse_x509().map_err(CertificatesError::Certificate)?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err(CertificatesError::Missing)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use k8s_openapi::ByteString;

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
    fn text_before_the_request_is_skipped() {
        let pem = request();
        let subject = read(format!("some words\n{pem}\nmore").as_bytes()).unwrap();
        assert_eq!(subject.common_name, "system:node:node-1");
        assert_eq!(subject.organizations, ["system:nodes"]);
    }

    #[test]
    fn requests_that_kube_apiserver_rejects_are_rejected() {
        let pem = request();
        for wrong in [
            String::new(),
            pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
            pem.replace("-----END", "-----ENDED"),
        ] {
            let error = read(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, RequestError::BlockType), "{error}");
        }
        let mut blocks = Pem::iter_from_buffer(pem.as_bytes());
        let mut der = blocks.next().unwrap().unwrap().contents;
        der.push(0);
        let encode = |der: Vec<u8>| {
            let text = serde_json::to_value(ByteString(der)).unwrap();
            format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
                text.as_str().unwrap()
            )
        };
        let error = read(encode(der.clone()).as_bytes()).unwrap_err();
        assert!(matches!(error, RequestError::TrailingData), "{error}");
        der.pop();
        read(encode(der.clone()).as_bytes()).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let error = read(encode(der).as_bytes()).unwrap_err();
        assert!(matches!(error, RequestError::Signature), "{error}");
    }
}
