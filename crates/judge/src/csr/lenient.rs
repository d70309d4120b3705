//! Lenient parser of requests (x509-parser). It continues where the strict parser stops, so that all
//! defects are reported. Its result alone proves nothing.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::parsed::{
    NameKind, OID_EXTENSION_REQUEST, OID_SUBJECT_ALT_NAME, ParsedRequest, RawName,
    SubjectAttribute, Text,
};

/// Parses a request. Returns it with the number of trailing bytes; `None` if it cannot be parsed.
pub(super) fn read(der: &[u8]) -> Option<(ParsedRequest, usize)> {
    let (rest, request) = X509CertificationRequest::from_der(der).ok()?;
    let info = &request.certification_request_info;
    let mut parsed = ParsedRequest {
        subject: info
            .subject
            .iter_rdn()
            .map(|rdn| rdn.iter().map(subject_attribute).collect())
            .collect(),
        key: info.subject_pki.raw.to_vec(),
        signature_algorithm: request.signature_algorithm.algorithm.to_id_string(),
        signature: request.signature_value.data.to_vec(),
        signed: info.raw.to_vec(),
        ..ParsedRequest::default()
    };
    for attribute in info.iter_attributes() {
        let oid = attribute.oid.to_id_string();
        if oid == OID_EXTENSION_REQUEST {
            parsed.extension_requests += 1;
        }
        parsed.attributes.push(oid);
        if let ParsedCriAttribute::ExtensionRequest(request) = attribute.parsed_attribute() {
            for extension in &request.extensions {
                read_extension(extension, &mut parsed);
            }
        }
    }
    Some((parsed, rest.len()))
}

pub(super) fn subject_attribute(attribute: &AttributeTypeAndValue<'_>) -> SubjectAttribute {
    use x509_parser::asn1_rs::Tag;
    let value = attribute.attr_value();
    let text = if value.tag() == Tag::Utf8String && value.header.is_universal() {
        Text::Utf8
    } else if value.tag() == Tag::PrintableString
        && let Ok(text) = attribute.as_str()
    {
        Text::Printable(text.to_owned())
    } else {
        Text::Other
    };
    SubjectAttribute {
        oid: attribute.attr_type().to_id_string(),
        text,
    }
}

fn read_extension(extension: &X509Extension<'_>, parsed: &mut ParsedRequest) {
    let oid = extension.oid.to_id_string();
    if oid == OID_SUBJECT_ALT_NAME {
        if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
            parsed.names.extend(san.general_names.iter().map(raw_name));
        } else {
            parsed.unreadable_san = true;
        }
    }
    parsed.extensions.push(oid);
}

pub(super) fn raw_name(name: &GeneralName<'_>) -> RawName {
    let (kind, bytes): (NameKind, &[u8]) = match name {
        GeneralName::OtherName(..) => (NameKind::OtherName, &[]),
        GeneralName::RFC822Name(text) => (NameKind::Email, text.as_bytes()),
        GeneralName::DNSName(text) => (NameKind::Dns, text.as_bytes()),
        GeneralName::X400Address(_) => (NameKind::X400Address, &[]),
        GeneralName::DirectoryName(_) => (NameKind::DirectoryName, &[]),
        GeneralName::EDIPartyName(_) => (NameKind::EdiPartyName, &[]),
        GeneralName::URI(text) => (NameKind::Uri, text.as_bytes()),
        GeneralName::IPAddress(bytes) => (NameKind::Ip, bytes),
        GeneralName::RegisteredID(_) => (NameKind::RegisteredId, &[]),
        GeneralName::Invalid(tag, bytes) if tag.0 == 2 => (NameKind::Dns, bytes),
        GeneralName::Invalid(..) => (NameKind::Unreadable, &[]),
    };
    RawName {
        kind,
        bytes: bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::asn1_rs::Tag;

    #[test]
    fn a_name_that_is_not_text_is_still_a_name() {
        let of = |tag| raw_name(&GeneralName::Invalid(Tag(tag), b"\xff"));
        let kind_and_bytes = |name: RawName| (name.kind, name.bytes);
        assert_eq!(kind_and_bytes(of(2)), (NameKind::Dns, vec![0xff]));
        assert_eq!(kind_and_bytes(of(1)), (NameKind::Unreadable, Vec::new()));
    }
}
