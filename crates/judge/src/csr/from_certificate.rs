//! Conversion of a certificate to the request for it. The audit judges certificates in use by the
//! rules for requests.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::content::{content, inspect_names, inspect_subject};
use super::lenient::{raw_name, subject_attribute};
use super::parsed::ParsedRequest;
use super::{CsrObject, Request};
use crate::finding::{Code, Findings};

impl Request {
    /// The request that would lead to this certificate in DER; `None` if the certificate cannot be
    /// parsed. Fields that the signer adds, such as usages, are not part of a request.
    pub fn from_certificate(object: CsrObject, der: &[u8]) -> Option<Request> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut parsed = ParsedRequest {
            subject: certificate
                .subject()
                .iter_rdn()
                .map(|rdn| rdn.iter().map(subject_attribute).collect())
                .collect(),
            key: certificate.public_key().raw.to_vec(),
            ..ParsedRequest::default()
        };
        let mut findings = Findings::default();
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
                parsed.names.extend(san.general_names.iter().map(raw_name));
            }
        }
        if certificate.is_ca() {
            findings.add(Code::ExtensionExtra, "it is a certificate authority's");
        }
        inspect_subject(&parsed, &mut findings);
        inspect_names(&parsed, &mut findings);
        let content = content(&parsed, &mut findings);
        Some(Request {
            object: object.into(),
            content: Some(content),
            findings,
            first_seen: None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::csr::Fingerprint;
    use crate::csr::names::San;
    use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, PublicKeyData as _};

    fn of(change: impl FnOnce(&mut CertificateParams)) -> (KeyPair, Option<Request>) {
        let mut params = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        let mut name = DistinguishedName::new();
        name.push(
            DnType::OrganizationName,
            rcgen::DnValue::PrintableString("system:nodes".try_into().unwrap()),
        );
        name.push(
            DnType::CommonName,
            rcgen::DnValue::PrintableString("system:node:node-1".try_into().unwrap()),
        );
        params.distinguished_name = name;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (
            key,
            Request::from_certificate(CsrObject::blank(), certificate.der()),
        )
    }

    #[test]
    fn the_request_has_the_content_of_the_certificate() {
        let (key, request) = of(|_| {});
        let request = request.unwrap();
        let content = request.content.unwrap();
        assert_eq!(content.common_name.as_deref(), Some("system:node:node-1"));
        assert_eq!(content.sans, [San::from_dns_text("node-1").unwrap()]);
        assert_eq!(content.key, Fingerprint::of(&key.subject_public_key_info()));
        assert_eq!(request.findings.iter().count(), 0);
    }

    #[test]
    fn a_certificate_authority_is_found() {
        let (_, request) = of(|params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        let findings = request.unwrap().findings;
        assert!(
            findings
                .iter()
                .any(|finding| finding.code == Code::ExtensionExtra)
        );
    }
}
