//! Strict parser of requests (x509-cert). Every layer is encoded again and must give the same bytes,
//! so no byte is left unseen.

use der::asn1::{Any, ObjectIdentifier, PrintableStringRef};
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::parsed::{
    NameKind, OID_EXTENSION_REQUEST, OID_SUBJECT_ALT_NAME, ParsedRequest, RawName,
    SubjectAttribute, Text,
};

/// The parsed request, with the key and algorithm to verify its signature.
pub(super) struct StrictRequest {
    pub(super) parsed: ParsedRequest,
    pub(super) key: SubjectPublicKeyInfoOwned,
    pub(super) signature_algorithm: AlgorithmIdentifierOwned,
}

/// Parses canonical DER. The error names the layer that is not canonical.
pub(super) fn read(bytes: &[u8]) -> Result<StrictRequest, String> {
    let request: CertReq = exact(bytes, "certification request")?;
    let info = &request.info;
    let mut parsed = ParsedRequest {
        subject: info
            .subject
            .iter_rdn()
            .map(|rdn| rdn.iter().map(subject_attribute).collect())
            .collect::<Result<_, String>>()?,
        key: encode(&info.public_key)?,
        signature_algorithm: request.algorithm.oid.to_string(),
        signature: request
            .signature
            .as_bytes()
            .ok_or("the signature is not a whole number of bytes")?
            .to_vec(),
        signed: encode(info)?,
        ..ParsedRequest::default()
    };
    for attribute in info.attributes.iter() {
        let oid = exact_oid(&attribute.oid)?;
        if oid == OID_EXTENSION_REQUEST {
            for value in attribute.values.iter() {
                parsed.extension_requests += 1;
                read_extensions(value, &mut parsed)?;
            }
        }
        parsed.attributes.push(oid);
    }
    Ok(StrictRequest {
        parsed,
        key: request.info.public_key,
        signature_algorithm: request.algorithm,
    })
}

fn subject_attribute(attribute: &AttributeTypeAndValue) -> Result<SubjectAttribute, String> {
    let value = &attribute.value;
    let printable = || value.decode_as::<PrintableStringRef<'_>>().ok();
    let text = if value.tag() == Tag::Utf8String {
        Text::Utf8
    } else if value.tag() == Tag::PrintableString
        && let Some(text) = printable()
    {
        Text::Printable(text.as_str().to_owned())
    } else {
        Text::Other
    };
    Ok(SubjectAttribute {
        oid: exact_oid(&attribute.oid)?,
        text,
    })
}

/// Formats an object identifier, and refuses one with an arc that is padded with zeros (X.690,
/// 8.19.2). The library stores its bytes, so encoding it again does not reveal the padding.
fn exact_oid(oid: &ObjectIdentifier) -> Result<String, String> {
    let text = oid.to_string();
    if ObjectIdentifier::new(&text).is_ok_and(|again| again == *oid) {
        Ok(text)
    } else {
        Err(format!(
            "object identifier {text} is not in its shortest form"
        ))
    }
}

fn read_extensions(value: &Any, parsed: &mut ParsedRequest) -> Result<(), String> {
    let requested: ExtensionReq = exact(&encode(value)?, "extension request")?;
    for extension in &requested.0 {
        let oid = exact_oid(&extension.extn_id)?;
        if oid == OID_SUBJECT_ALT_NAME {
            let san: Result<SubjectAltName, String> =
                exact(extension.extn_value.as_bytes(), "SAN extension");
            match san {
                Ok(san) => parsed.names.extend(san.0.iter().map(raw_name)),
                Err(_) => parsed.unreadable_san = true,
            }
        }
        parsed.extensions.push(oid);
    }
    Ok(())
}

fn raw_name(name: &GeneralName) -> RawName {
    let (kind, bytes): (NameKind, &[u8]) = match name {
        GeneralName::OtherName(_) => (NameKind::OtherName, &[]),
        GeneralName::Rfc822Name(text) => (NameKind::Email, text.as_bytes()),
        GeneralName::DnsName(text) => (NameKind::Dns, text.as_bytes()),
        GeneralName::DirectoryName(_) => (NameKind::DirectoryName, &[]),
        GeneralName::EdiPartyName(_) => (NameKind::EdiPartyName, &[]),
        GeneralName::UniformResourceIdentifier(text) => (NameKind::Uri, text.as_bytes()),
        GeneralName::IpAddress(bytes) => (NameKind::Ip, bytes.as_bytes()),
        GeneralName::RegisteredId(_) => (NameKind::RegisteredId, &[]),
    };
    RawName {
        kind,
        bytes: bytes.to_vec(),
    }
}

fn exact<T: for<'a> Decode<'a, Error = der::Error> + Encode>(
    bytes: &[u8],
    layer: &str,
) -> Result<T, String> {
    let value = T::from_der(bytes).map_err(|error| format!("the {layer} is refused: {error}"))?;
    if encode(&value)? != bytes {
        return Err(format!("the {layer} re-encodes to different bytes"));
    }
    Ok(value)
}

fn encode(value: &impl Encode) -> Result<Vec<u8>, String> {
    value
        .to_der()
        .map_err(|error| format!("cannot be re-encoded: {error}"))
}
