//! Parser for the exact shape of a kubelet's request, element by element. A request without findings
//! must have this shape, so no byte escapes the judge.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::tlv::{expect, only, take};

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The fields of a kubelet's request.
#[derive(Debug)]
pub(super) struct KubeletRequest<'a> {
    pub(super) organization: &'a str,
    pub(super) common_name: &'a str,
    /// The names as [`canonical_dns`] and [`canonical_ip`] write them, in their order.
    pub(super) names: Vec<String>,
    /// The SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    /// The AlgorithmIdentifier of the signature.
    pub(super) algorithm: &'a [u8],
}

impl KubeletRequest<'_> {
    /// The names, each once.
    pub(super) fn distinct(&self) -> BTreeSet<&str> {
        self.names.iter().map(String::as_str).collect()
    }
}

/// Parses a request of exactly this shape.
pub(super) fn parse(der: &[u8]) -> Option<KubeletRequest<'_>> {
    let mut request = only(der, 0x30)?;
    let mut info = expect(&mut request, 0x30)?;
    let algorithm = take(&mut request)?;
    let signature = only(request, 0x03)?;
    if algorithm.tag != 0x30 || signature.first() != Some(&0) {
        return None;
    }
    if expect(&mut info, 0x02)? != [0] {
        return None;
    }
    let (organization, common_name) = subject(expect(&mut info, 0x30)?)?;
    let key = take(&mut info)?;
    let attributes = only(info, 0xa0)?;
    (key.tag == 0x30).then_some(())?;
    Some(KubeletRequest {
        organization,
        common_name,
        names: names(san(attributes)?)?,
        key: key.whole,
        algorithm: algorithm.whole,
    })
}

/// The O and the CN, one RDN each, in either order. The signer encodes them again.
fn subject(mut rdns: &[u8]) -> Option<(&str, &str)> {
    let (mut organization, mut common_name) = (None, None);
    while !rdns.is_empty() {
        let mut attribute = only(expect(&mut rdns, 0x31)?, 0x30)?;
        let place = match expect(&mut attribute, 0x06)? {
            ORGANIZATION => &mut organization,
            COMMON_NAME => &mut common_name,
            _ => return None,
        };
        let text = std::str::from_utf8(only(attribute, 0x13)?).ok()?;
        if place.replace(text).is_some() {
            return None;
        }
    }
    Some((organization?, common_name?))
}

/// The names in the only extension of the only attribute.
fn san(attributes: &[u8]) -> Option<&[u8]> {
    let mut attribute = only(attributes, 0x30)?;
    if expect(&mut attribute, 0x06)? != EXTENSION_REQUEST {
        return None;
    }
    let extensions = only(only(attribute, 0x31)?, 0x30)?;
    let mut extension = only(extensions, 0x30)?;
    if expect(&mut extension, 0x06)? != SUBJECT_ALT_NAME {
        return None;
    }
    let mut after_critical = extension;
    match expect(&mut after_critical, 0x01) {
        Some([0xff]) => extension = after_critical,
        // DER does not encode FALSE, which is the default.
        Some(_) => return None,
        None => {}
    }
    only(only(extension, 0x04)?, 0x30)
}

fn names(mut names: &[u8]) -> Option<Vec<String>> {
    let mut read = Vec::new();
    while !names.is_empty() {
        let name = take(&mut names)?;
        read.push(match name.tag {
            0x82 => canonical_dns(name.content)?,
            0x87 => canonical_ip(name.content)?,
            _ => return None,
        });
    }
    (!read.is_empty()).then_some(read)
}

/// The canonical form of a host name; `None` if it has a byte that no host name has.
pub(super) fn canonical_dns(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_of_host_names = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(is_of_host_names))
        .then(|| format!("DNS:{}", name.to_ascii_lowercase()))
}

/// The canonical form of an address; `None` unless it has 4 octets, or 16 that are not IPv4-mapped.
pub(super) fn canonical_ip(octets: &[u8]) -> Option<String> {
    let ip = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    (ip.to_canonical() == ip).then(|| format!("IP:{ip}"))
}
