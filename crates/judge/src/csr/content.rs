//! The certificate that a request asks for, and the findings about its encoding.

use std::collections::HashSet;

use super::key::{self, Fingerprint};
use super::names::{DnsName, San};
use super::object::NODES_GROUP;
use super::packed_pem::PackedPem;
use super::parsed::{
    NameKind, OID_COMMON_NAME, OID_EXTENSION_REQUEST, OID_ORGANIZATION, OID_SUBJECT_ALT_NAME,
    ParsedRequest, RawName, Text,
};
use super::{lenient, pem, strict};
use crate::finding::{Code, Findings, escaped};

/// Maximum size of a request, in bytes of PEM. A kubelet's request has about one thousand.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Maximum number of names that are parsed in one request.
const MAX_NAMES: usize = 512;

/// The content that the signer would put into the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The common name; `None` unless there is exactly one.
    pub common_name: Option<String>,
    /// The well-formed SANs, each once. A malformed SAN is a finding.
    pub sans: Vec<San>,
    /// The number of SANs, well-formed or not. A SAN in two spellings counts twice.
    pub san_count: usize,
    /// The fingerprint of the key.
    pub key: Fingerprint,
}

/// Parses PEM. Returns `None` if the bytes are too large or cannot be parsed.
pub(super) fn read(text: &[u8], findings: &mut Findings) -> Option<Content> {
    if text.len() > MAX_REQUEST_BYTES {
        let detail = format!(
            "expected at most {MAX_REQUEST_BYTES} bytes, found {}",
            text.len()
        );
        findings.add(Code::RequestTooLarge, detail);
        return None;
    }
    match pem::decode(text) {
        Ok(der) => read_der(&der, findings),
        Err((code, detail)) => {
            findings.add(code, detail);
            None
        }
    }
}

/// Parses packed PEM, as [`read`] does.
pub(super) fn read_packed(encoded: &PackedPem, findings: &mut Findings) -> Option<Content> {
    match encoded.inside() {
        Ok(der) => read_der(der, findings),
        Err(text) => read(text, findings),
    }
}

/// The key in PEM bytes. Nothing else is checked.
pub(super) fn key_of(text: &[u8]) -> Option<Fingerprint> {
    if text.len() > MAX_REQUEST_BYTES {
        return None;
    }
    let strict = strict::read(&pem::decode(text).ok()?).ok()?;
    Some(Fingerprint::of(&strict.parsed.key))
}

fn read_der(der: &[u8], findings: &mut Findings) -> Option<Content> {
    let lenient = lenient::read(der);
    let strict = strict::read(der);
    if let Some((_, trailing @ 1..)) = lenient {
        let detail = format!("{trailing} bytes follow the certification request");
        findings.add(Code::DerTrailingBytes, detail);
    }
    match (lenient, strict) {
        (Some((lenient, _)), Ok(strict)) => {
            inspect(&strict.parsed, findings);
            if lenient != strict.parsed {
                findings.add(
                    Code::ReadersDisagree,
                    "x509-parser and x509-cert decode different requests from the same bytes",
                );
            }
            let signed = &strict.parsed.signed;
            let signature = &strict.parsed.signature;
            let algorithm = &strict.signature_algorithm;
            if let Err((code, detail)) = key::verify(&strict.key, algorithm, signed, signature) {
                findings.add(code, detail);
            }
            Some(content(&strict.parsed, findings))
        }
        (Some((lenient, _)), Err(why)) => {
            findings.add(Code::DerNotCanonical, why);
            inspect(&lenient, findings);
            Some(content(&lenient, findings))
        }
        (None, Ok(strict)) => {
            inspect(&strict.parsed, findings);
            let detail = "only one of two parsers can decode the request";
            findings.add(Code::ReadersDisagree, detail);
            Some(content(&strict.parsed, findings))
        }
        (None, Err(why)) => {
            findings.add(Code::DerMalformed, why);
            None
        }
    }
}

fn inspect(parsed: &ParsedRequest, findings: &mut Findings) {
    inspect_subject(parsed, findings);
    for oid in parsed
        .attributes
        .iter()
        .filter(|oid| *oid != OID_EXTENSION_REQUEST)
    {
        findings.add(Code::AttributeExtra, format!("expected no attribute {oid}"));
    }
    match parsed.extension_requests {
        0 => findings.add(
            Code::ExtensionRequestMissing,
            "expected one extension request, found none",
        ),
        1 => {}
        more => findings.add(
            Code::ExtensionRequestRepeated,
            format!("expected one extension request, found {more}"),
        ),
    }
    for oid in parsed
        .extensions
        .iter()
        .filter(|oid| *oid != OID_SUBJECT_ALT_NAME)
    {
        findings.add(Code::ExtensionExtra, format!("expected no extension {oid}"));
    }
    let sans = parsed
        .extensions
        .iter()
        .filter(|oid| *oid == OID_SUBJECT_ALT_NAME);
    if sans.clone().count() > 1 {
        let detail = format!("expected one SAN extension, found {}", sans.count());
        findings.add(Code::SanRepeated, detail);
    }
    inspect_names(parsed, findings);
}

/// Adds a finding if the SANs are missing or cannot be parsed.
pub(super) fn inspect_names(parsed: &ParsedRequest, findings: &mut Findings) {
    if parsed.unreadable_san {
        findings.add(
            Code::SanMalformed,
            "the SAN extension is not exactly one list of names",
        );
    } else if parsed.names.is_empty() {
        findings.add(
            Code::SanMissing,
            "expected DNS names and IP addresses, found none",
        );
    }
}

pub(super) fn inspect_subject(parsed: &ParsedRequest, findings: &mut Findings) {
    if let Some(rdn) = parsed.subject.iter().find(|rdn| rdn.len() != 1) {
        let detail = format!("expected one value, found {}", rdn.len());
        findings.add(Code::RdnMultiValued, detail);
    }
    let attributes = || parsed.subject.iter().flatten();
    for attribute in attributes() {
        if attribute.oid != OID_COMMON_NAME && attribute.oid != OID_ORGANIZATION {
            let detail = format!("expected CN and O only, found {}", attribute.oid);
            findings.add(Code::SubjectAttributeExtra, detail);
        }
    }
    match attributes().filter(|a| a.oid == OID_COMMON_NAME).count() {
        0 => findings.add(Code::CommonNameMissing, "expected one CN, found none"),
        1 => {}
        more => findings.add(
            Code::CommonNameRepeated,
            format!("expected one CN, found {more}"),
        ),
    }
    let organizations = || attributes().filter(|a| a.oid == OID_ORGANIZATION);
    match organizations().count() {
        0 => findings.add(
            Code::OrganizationMissing,
            "expected O `system:nodes`, found none",
        ),
        1 => {}
        more => findings.add(
            Code::OrganizationRepeated,
            format!("expected one O, found {more}"),
        ),
    }
    for organization in organizations() {
        if organization.text.printable() != Some(NODES_GROUP) {
            let found = match &organization.text {
                Text::Printable(text) => format!("`{}`", escaped(text.as_bytes())),
                Text::Utf8 => "a UTF8String (kubelets send a PrintableString)".to_owned(),
                Text::Other => "another string type than PrintableString".to_owned(),
            };
            let detail = format!("expected O `system:nodes`, found {found}");
            findings.add(Code::OrganizationWrong, detail);
        }
    }
}

pub(super) fn content(parsed: &ParsedRequest, findings: &mut Findings) -> Content {
    let mut common_names = parsed
        .subject
        .iter()
        .flatten()
        .filter(|a| a.oid == OID_COMMON_NAME);
    let common_name = match (common_names.next(), common_names.next()) {
        (Some(one), None) => one.text.printable().map(str::to_owned),
        _ => None,
    };
    if parsed.names.len() > MAX_NAMES {
        let detail = format!("expected at most {MAX_NAMES}, found {}", parsed.names.len());
        findings.add(Code::SanTooMany, detail);
    }
    let mut sans: Vec<San> = Vec::new();
    let looked_at = parsed.names.get(..MAX_NAMES).unwrap_or(&parsed.names);
    // Sets, because an attacker chooses the number of names, and comparing all pairs is quadratic.
    let (mut seen_names, mut seen_sans) = (HashSet::new(), HashSet::new());
    for name in looked_at {
        // Names of other kinds are read without their content, and refused.
        let is_read = matches!(name.kind, NameKind::Dns | NameKind::Ip);
        if is_read && !seen_names.insert(name) {
            let detail = format!("`{}` is listed twice", escaped(&name.bytes));
            findings.add(Code::SanDuplicate, detail);
        }
        match san(name) {
            // A kubelet requests both `Node-1` and `node-1` if its Node has both. They are one name.
            Ok(san) => {
                if seen_sans.insert(san.clone()) {
                    sans.push(san);
                }
            }
            Err((code, detail)) => findings.add(code, detail),
        }
    }
    Content {
        common_name,
        sans,
        san_count: parsed.names.len(),
        key: Fingerprint::of(&parsed.key),
    }
}

fn san(name: &RawName) -> Result<San, (Code, String)> {
    match name.kind {
        NameKind::Dns => DnsName::parse(&name.bytes).map(San::Dns),
        NameKind::Ip => San::from_ip_bytes(&name.bytes),
        NameKind::OtherName
        | NameKind::Email
        | NameKind::X400Address
        | NameKind::DirectoryName
        | NameKind::EdiPartyName
        | NameKind::Uri
        | NameKind::RegisteredId
        | NameKind::Unreadable => {
            let detail = format!(
                "expected DNS names and IP addresses, found {}",
                name.kind.as_str()
            );
            Err((Code::SanKindRefused, detail))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn codes(text: &[u8]) -> Vec<Code> {
        let mut findings = Findings::default();
        assert!(read(text, &mut findings).is_none());
        findings.iter().map(|finding| finding.code).collect()
    }

    fn asking_for(names: usize) -> String {
        let names = (0..names).map(|index| format!("{index:060}.example"));
        let params = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        // On Windows, rcgen ends lines with CR LF.
        pem.replace("\r\n", "\n")
    }

    #[test]
    fn a_request_that_is_too_large_is_not_parsed() {
        assert_eq!(codes(&[b'x'; MAX_REQUEST_BYTES]), [Code::PemMissing]);
        assert_eq!(
            codes(&[b'x'; MAX_REQUEST_BYTES + 1]),
            [Code::RequestTooLarge]
        );
        assert!(key_of(asking_for(1).as_bytes()).is_some());
        let large = asking_for(200);
        assert!(large.len() > MAX_REQUEST_BYTES);
        assert_eq!(key_of(large.as_bytes()), None);
    }

    #[test]
    fn names_beyond_the_maximum_are_not_parsed() {
        let of = |names: u16| {
            let parsed = ParsedRequest {
                names: (0..names)
                    .map(|index| RawName {
                        kind: NameKind::Ip,
                        bytes: [&[10, 0][..], &index.to_be_bytes()].concat(),
                    })
                    .collect(),
                ..ParsedRequest::default()
            };
            let mut findings = Findings::default();
            let content = content(&parsed, &mut findings);
            let too_many = findings
                .iter()
                .any(|finding| finding.code == Code::SanTooMany);
            (content.sans.len(), too_many)
        };
        assert_eq!(of(511), (511, false));
        assert_eq!(of(512), (512, false));
        assert_eq!(of(513), (512, true));
        assert_eq!(of(514), (512, true));
    }
}
