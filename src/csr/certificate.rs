//! A certificate, read as the request that would have led to it: an auditor judges what is in use
//! by the rules for what is asked.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::content::{content, inspect_names, inspect_subject};
use super::lenient::{raw_name, subject_attribute};
use super::reading::Reading;
use super::{Object, Request};
use crate::finding::{Code, Findings};

impl Request {
    /// What a kubelet would have to ask for to get this certificate, in DER; `None` if it cannot be
    /// read. What the signer adds, such as usages and the issuer's key, nobody asks for.
    pub fn of_certificate(object: Object, der: &[u8]) -> Option<Request> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut reading = Reading {
            subject: certificate
                .subject()
                .iter_rdn()
                .map(|rdn| rdn.iter().map(subject_attribute).collect())
                .collect(),
            key: certificate.public_key().raw.to_vec(),
            ..Reading::default()
        };
        let mut findings = Findings::default();
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
                reading.names.extend(san.general_names.iter().map(raw_name));
            }
        }
        if certificate.is_ca() {
            findings.add(Code::ExtensionExtra, "it is a certificate authority's");
        }
        inspect_subject(&reading, &mut findings);
        inspect_names(&reading, &mut findings);
        let content = content(&reading, &mut findings);
        Some(Request {
            object,
            content: Some(content),
            findings,
        })
    }
}
