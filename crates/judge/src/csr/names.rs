//! Node names, DNS names and SANs, parsed once and compared as Kubernetes and DNS compare them.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::finding::{Code, escaped};

/// Returns true for a DNS-1123 subdomain: lower-case letters, digits, inner hyphens and dots, at most
/// 253 bytes (apimachinery `pkg/util/validation`).
pub fn is_dns_subdomain(text: &str) -> bool {
    const MAX_LENGTH: usize = 253;
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let alphanumeric =
            |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        alphanumeric(bytes.first())
            && alphanumeric(bytes.last())
            && bytes.iter().all(|b| alphanumeric(Some(b)) || *b == b'-')
    };
    text.len() <= MAX_LENGTH && text.split('.').all(label)
}

/// The name of a Node: a DNS-1123 subdomain, as Kubernetes requires of its `metadata.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Parses a name; `None` if it is not a DNS-1123 subdomain.
    pub fn parse(text: &str) -> Option<NodeName> {
        is_dns_subdomain(text).then(|| NodeName(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host name as DNS compares it: in lower case, without the trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// Maximum length in text form, in bytes without the trailing dot (RFC 1035, 2.3.4).
    const MAX_LENGTH: usize = 253;
    /// Maximum length of a label, in bytes (RFC 1035, 2.3.4).
    const MAX_LABEL_LENGTH: usize = 63;

    /// Parses a host name (RFC 1123, 2.1). The error is the code and detail of a finding.
    pub fn parse(presented: &[u8]) -> Result<DnsName, (Code, String)> {
        let malformed = |why: &str| {
            let detail = format!("DNS name `{}` {why}", escaped(presented));
            Err((Code::SanDnsMalformed, detail))
        };
        let relative = presented.strip_suffix(b".").unwrap_or(presented);
        if relative.is_empty() {
            return malformed("is empty");
        }
        if relative.contains(&b'*') {
            let detail = format!("DNS name `{}` is a wildcard", escaped(presented));
            return Err((Code::SanWildcard, detail));
        }
        if relative.len() > Self::MAX_LENGTH {
            return malformed("is longer than 253 bytes");
        }
        let mut labels = 0;
        let mut numeric = 0;
        for label in relative.split(|b| *b == b'.') {
            if label.len() > Self::MAX_LABEL_LENGTH {
                return malformed("has a label longer than 63 bytes");
            }
            if !is_ldh(label) {
                return malformed("has a label that is not letters, digits and inner hyphens");
            }
            labels += 1;
            numeric += usize::from(is_number(label));
        }
        let text = String::from_utf8_lossy(relative).to_ascii_lowercase();
        // Resolvers parse 10.1, 0x0a.1 and 10.0.0.1 as addresses (inet_aton). A single number is a
        // possible host name, and Kubernetes allows it as a Node's name.
        if labels > 1 && labels == numeric {
            return malformed("is an IP address written as a name");
        }
        Ok(DnsName(text.into()))
    }

    /// The name in lower case, without the trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the name is this domain or a subdomain of it.
    pub fn is_within(&self, domain: &DnsName) -> bool {
        self.0
            .strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

fn is_ldh(label: &[u8]) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    edge(label.first())
        && edge(label.last())
        && label
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_number(label: &[u8]) -> bool {
    let hexadecimal = label
        .strip_prefix(b"0x")
        .or_else(|| label.strip_prefix(b"0X"));
    match hexadecimal {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => label.iter().all(u8::is_ascii_digit),
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A subject alternative name of one of the two kinds that a serving certificate may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A host name.
    Dns(DnsName),
    /// An IP address, never an IPv4-mapped one.
    Ip(IpAddr),
}

impl San {
    /// Parses the bytes of an iPAddress (RFC 5280, 4.2.1.6). The error is the code and detail of a
    /// finding.
    pub fn from_ip_bytes(bytes: &[u8]) -> Result<San, (Code, String)> {
        let ip = if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            IpAddr::from(four)
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
            let v6 = Ipv6Addr::from(sixteen);
            if v6.to_ipv4_mapped().is_some() {
                let detail =
                    format!("IP address {v6} is an IPv4 address embedded in an IPv6 address");
                return Err((Code::SanIpMalformed, detail));
            }
            IpAddr::V6(v6)
        } else {
            let detail = format!("an IP address has {} bytes, not 4 or 16", bytes.len());
            return Err((Code::SanIpMalformed, detail));
        };
        Ok(San::Ip(ip))
    }

    /// Parses an IP address as a kubelet does (Go `netutils.ParseIPSloppy`): leading zeros are
    /// decimal, and an IPv4-mapped address is an IPv4 address.
    pub fn from_ip_text(text: &str) -> Option<San> {
        let ip = text.parse().ok().or_else(|| sloppy_ipv4(text))?;
        Some(San::Ip(IpAddr::to_canonical(&ip)))
    }

    /// Parses a host name; `None` if it is malformed.
    pub fn from_dns_text(text: &str) -> Option<San> {
        DnsName::parse(text.as_bytes()).ok().map(San::Dns)
    }

    /// Parses an IP address, or else a host name.
    pub fn from_host_text(text: &str) -> Option<San> {
        San::from_ip_text(text).or_else(|| San::from_dns_text(text))
    }
}

fn sloppy_ipv4(text: &str) -> Option<IpAddr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits =
            !part.is_empty() && part.len() <= 16 && part.bytes().all(|b| b.is_ascii_digit());
        *octet = digits
            .then(|| part.trim_start_matches('0'))
            .and_then(|part| {
                if part.is_empty() {
                    Some(0)
                } else {
                    part.parse().ok()
                }
            })?;
    }
    parts.next().is_none().then(|| IpAddr::from(octets))
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            San::Dns(name) => write!(f, "DNS:{name}"),
            San::Ip(ip) => write!(f, "IP:{ip}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_dns_1123_subdomains() {
        for good in ["a", "1", "node-1", "ip-10-0-0-1.ec2.internal"] {
            assert!(NodeName::parse(good).is_some(), "{good}");
        }
        for bad in [
            "", ".", "a.", ".a", "-a", "a-", "A", "a_b", "a b", "a\0", "ä",
        ] {
            assert!(NodeName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn dns_names_compare_as_dns_does() {
        let name = |text: &str| DnsName::parse(text.as_bytes());
        assert_eq!(name("Node-1.Example."), name("node-1.example"));
        assert!(name("a.svc").unwrap().is_within(&name("svc").unwrap()));
        assert!(!name("a.xsvc").unwrap().is_within(&name("svc").unwrap()));
    }

    #[test]
    fn addresses_written_as_names_are_no_names() {
        for text in ["10.0.0.1", "10.1", "0x7f.1", "1.2.3.4."] {
            assert!(DnsName::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["12", "10.a", "node.1a"] {
            assert!(DnsName::parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn node_addresses_are_read_as_the_kubelet_reads_them() {
        let ten = San::from_ip_text("10.0.0.1");
        assert!(ten.is_some());
        assert_eq!(San::from_ip_text("::ffff:10.0.0.1"), ten);
        assert_eq!(San::from_ip_text("010.0.00.1"), ten);
        for bad in [
            "10.0.0",
            "10.0.0.1.2",
            "10.0.0.256",
            "10..0.1",
            "10.0.0.1%eth0",
        ] {
            assert_eq!(San::from_ip_text(bad), None, "{bad}");
        }
    }
}
