//! A parsed certification request, in a form in which the results of two parsers can be compared.

/// The kind of a GeneralName (RFC 5280, 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum NameKind {
    OtherName,
    Email,
    Dns,
    X400Address,
    DirectoryName,
    EdiPartyName,
    Uri,
    Ip,
    RegisteredId,
    Unreadable,
}

impl NameKind {
    /// The kind as RFC 5280 spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            NameKind::OtherName => "otherName",
            NameKind::Email => "rfc822Name",
            NameKind::Dns => "dNSName",
            NameKind::X400Address => "x400Address",
            NameKind::DirectoryName => "directoryName",
            NameKind::EdiPartyName => "ediPartyName",
            NameKind::Uri => "uniformResourceIdentifier",
            NameKind::Ip => "iPAddress",
            NameKind::RegisteredId => "registeredID",
            NameKind::Unreadable => "unreadable name",
        }
    }
}

/// One GeneralName; `bytes` is empty for kinds that are always refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RawName {
    pub(super) kind: NameKind,
    pub(super) bytes: Vec<u8>,
}

/// The value of an attribute of the subject. Go encodes every text in a node's subject as
/// PrintableString, so the text of other types does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Printable(String),
    /// The default of openssl.
    Utf8,
    Other,
}

impl Text {
    /// The text of a PrintableString, the only type that a kubelet writes.
    pub(super) fn printable(&self) -> Option<&str> {
        match self {
            Text::Printable(text) => Some(text),
            Text::Utf8 | Text::Other => None,
        }
    }
}

/// One attribute of the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubjectAttribute {
    pub(super) oid: String,
    pub(super) text: Text,
}

/// All fields that the signer could copy into a certificate, and the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParsedRequest {
    /// The RDNs of the subject, each with its attributes.
    pub(super) subject: Vec<Vec<SubjectAttribute>>,
    /// The attributes of the request, by OID.
    pub(super) attributes: Vec<String>,
    /// The number of values of all extensionRequest attributes.
    pub(super) extension_requests: usize,
    /// The requested extensions, by OID.
    pub(super) extensions: Vec<String>,
    /// True if a SAN extension cannot be parsed.
    pub(super) unreadable_san: bool,
    /// The names of all SAN extensions, in their order.
    pub(super) names: Vec<RawName>,
    /// The SubjectPublicKeyInfo, encoded.
    pub(super) key: Vec<u8>,
    /// The OID of the signature's algorithm.
    pub(super) signature_algorithm: String,
    /// The signature.
    pub(super) signature: Vec<u8>,
    /// The signed bytes, which are the CertificationRequestInfo.
    pub(super) signed: Vec<u8>,
}

pub(super) const OID_COMMON_NAME: &str = "2.5.4.3";
pub(super) const OID_ORGANIZATION: &str = "2.5.4.10";
pub(super) const OID_EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
pub(super) const OID_SUBJECT_ALT_NAME: &str = "2.5.29.17";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_as_in_rfc_5280() {
        let kinds = [NameKind::Email, NameKind::Dns, NameKind::Uri, NameKind::Ip];
        let names = [
            "rfc822Name",
            "dNSName",
            "uniformResourceIdentifier",
            "iPAddress",
        ];
        assert_eq!(kinds.map(NameKind::as_str), names);
    }
}
