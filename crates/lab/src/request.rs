//! Certificate requests: those of kubelets, and forged ones.
//!
//! A genuine request is what Go's `x509.CreateCertificateRequest` makes of a kubelet's template
//! (`pkg/kubelet/certificate/kubelet.go`, `newGetTemplateFn`). O is before CN, both are
//! PrintableStrings. DNS names are before addresses, each sorted. It contains nothing else.

use std::net::IpAddr;

use anyhow::Result;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    Attribute, BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa,
    KeyPair, SanType,
};

/// The object identifier of a common name, for a second one.
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
/// The object identifier of a list of requested extensions (RFC 2985, 5.4.2).
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
/// SET { SEQUENCE { SEQUENCE { basicConstraints, critical, { CA:TRUE } } } }
const HIDDEN_AUTHORITY: [u8; 21] = [
    0x31, 0x13, 0x30, 0x11, 0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05,
    0x30, 0x03, 0x01, 0x01, 0xff,
];

/// A part of a request that no kubelet uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// The extension of a certificate authority.
    Authority,
    /// A common name before the node's own.
    FirstCommonName(String),
    /// A second list of extensions, with the extension of a certificate authority.
    SecondExtensions,
    /// A URI in the SAN.
    Uri(String),
    /// An organizational unit.
    Unit(String),
    /// A second PEM block behind the request, for this name.
    SecondBlock(String),
}

/// The content of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The requesting node.
    pub node: String,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// A part that makes the request a forgery, besides its names.
    pub extra: Option<Extra>,
}

impl Template {
    /// Returns the template that the kubelet of a node uses.
    pub fn genuine(node: &str, dns: &[String], ips: &[IpAddr]) -> Template {
        Template {
            node: node.to_owned(),
            dns: dns.to_vec(),
            ips: ips.to_vec(),
            extra: None,
        }
    }

    /// Encodes the request in PEM, signed with this key.
    pub fn pem(&self, key: &KeyPair) -> Result<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject()?;
        params.subject_alt_names = self.names()?;
        let mut attributes = Vec::new();
        let mut behind = String::new();
        match &self.extra {
            None | Some(Extra::FirstCommonName(_) | Extra::Uri(_) | Extra::Unit(_)) => {}
            Some(Extra::Authority) => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Some(Extra::SecondExtensions) => attributes.push(Attribute {
                oid: EXTENSION_REQUEST,
                values: HIDDEN_AUTHORITY.to_vec(),
            }),
            Some(Extra::SecondBlock(name)) => {
                let hidden = Template {
                    dns: vec![name.clone()],
                    extra: None,
                    ..self.clone()
                };
                behind = hidden.pem(key)?;
            }
        }
        let request = params.serialize_request_with_attributes(key, attributes)?;
        Ok(request.pem()? + &behind)
    }

    fn subject(&self) -> Result<DistinguishedName> {
        let printable = |text: &str| -> Result<DnValue> {
            Ok(DnValue::PrintableString(PrintableString::try_from(text)?))
        };
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, printable("system:nodes")?);
        match &self.extra {
            Some(Extra::Unit(unit)) => {
                subject.push(DnType::OrganizationalUnitName, printable(unit)?);
            }
            Some(Extra::FirstCommonName(name)) => {
                let common_name = DnType::CustomDnType(COMMON_NAME.to_vec());
                subject.push(common_name, printable(name)?);
            }
            None
            | Some(
                Extra::Authority | Extra::SecondExtensions | Extra::Uri(_) | Extra::SecondBlock(_),
            ) => {}
        }
        let own = format!("system:node:{}", self.node);
        subject.push(DnType::CommonName, printable(&own)?);
        Ok(subject)
    }

    fn names(&self) -> Result<Vec<SanType>> {
        let mut dns = self.dns.clone();
        dns.sort();
        let mut ips = self.ips.clone();
        ips.sort_by_key(ToString::to_string);
        let mut names = Vec::new();
        for name in dns {
            names.push(SanType::DnsName(Ia5String::try_from(name)?));
        }
        names.extend(ips.into_iter().map(SanType::IpAddress));
        if let Some(Extra::Uri(uri)) = &self.extra {
            names.push(SanType::URI(Ia5String::try_from(uri.as_str())?));
        }
        Ok(names)
    }
}
