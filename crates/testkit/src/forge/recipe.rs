//! The recipe of one request: its content and its faults.

use std::net::IpAddr;

use serde::Deserialize;

use super::{
    attribute::Attribute,
    der::Node,
    extension::{Critical, Extension},
    fault::Fault,
    fixture::Fixture,
    general_name::GeneralName,
    keys::{Key, KeyKind},
    octets::{IpOctets, Octets},
    pem::PemRecipe,
    signature::SignatureRecipe,
    subject::{NameAttribute, name},
};

/// The content of a request. Missing fields are as in a kubelet's request. With `node`, `dns` and `ip`
/// alone the request equals the one that Go's `x509.CreateCertificateRequest` creates from a kubelet's
/// template (kubernetes pkg/kubelet/certificate/kubelet.go, `newGetTemplateFn`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The node's name, which is part of the CN and the default seed of the key.
    pub node: String,
    /// The DNS names, in this order.
    pub dns: Vec<Octets>,
    /// The IP addresses, after the DNS names.
    pub ip: Vec<IpOctets>,
    /// Additional names of any kind, after the addresses.
    pub names: Vec<GeneralName>,

    /// The organizations, which Go puts in one RDN.
    pub org: Vec<Octets>,
    /// The common names, each in its own RDN; by default `system:node:` and the node.
    pub cn: Option<Vec<Octets>>,
    /// The whole subject, instead of `org` and `cn`: a list of RDNs, each a list of attributes.
    pub subject: Option<Vec<Vec<NameAttribute>>>,

    pub san_critical: Critical,
    /// The extensions; by default the SAN, if there are names.
    pub extensions: Option<Vec<Extension>>,
    /// The attributes; by default one extension request, if there are extensions.
    pub attributes: Option<Vec<Attribute>>,

    /// The version number; 0 is version 1.
    pub version: u8,
    pub key: KeyKind,
    /// The key's seed, by default the node's name.
    pub key_seed: Option<String>,
    /// Encodes the point of an elliptic curve key in compressed form.
    pub compressed: bool,
    pub signature: SignatureRecipe,

    /// The faults of the encoding, applied in this order.
    pub faults: Vec<Fault>,
    /// The whole DER, instead of the fields above.
    pub raw_der: Option<Octets>,
    /// A prebuilt request, instead of all fields but `pem`.
    pub fixture: Option<Fixture>,
    pub pem: PemRecipe,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            node: "node-1".to_owned(),
            dns: Vec::new(),
            ip: Vec::new(),
            names: Vec::new(),
            org: vec![Octets::from("system:nodes")],
            cn: None,
            subject: None,
            san_critical: Critical::Absent,
            extensions: None,
            attributes: None,
            version: 0,
            key: KeyKind::P256,
            key_seed: None,
            compressed: false,
            signature: SignatureRecipe::default(),
            faults: Vec::new(),
            raw_der: None,
            fixture: None,
            pem: PemRecipe::default(),
        }
    }
}

impl Recipe {
    /// The request that the kubelet of `node` sends.
    pub fn genuine(node: &str, dns: &[&str], ips: &[IpAddr]) -> Self {
        Self {
            node: node.to_owned(),
            dns: dns.iter().map(Octets::from).collect(),
            ip: ips.iter().copied().map(IpOctets::from).collect(),
            ..Self::default()
        }
    }

    /// Parses a recipe from YAML.
    ///
    /// # Errors
    /// Malformed YAML, or an unknown field.
    pub fn from_yaml(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    /// Adds a fault.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The key in the request.
    pub fn signing_key(&self) -> Key {
        Key::new(self.key, self.key_seed.as_ref().unwrap_or(&self.node))
    }

    /// The PEM text, which is the content of `spec.request`.
    pub fn pem(&self) -> String {
        self.pem.text(&self.der())
    }

    /// The DER, or the bytes that replace it.
    pub fn der(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw_der {
            return raw.0.clone();
        }
        if let Some(fixture) = self.fixture {
            return fixture.der();
        }
        let key = self.signing_key();
        let canonical = self.info(&key);
        // A fault may be in the signed part, so the request is built twice. The first time is only to get
        // the bytes that the signature must cover.
        let unsigned = self.request(&key, &canonical, &canonical.tlv());
        let mut unsigned = unsigned;
        let sent = unsigned.at("info").map_or_else(Vec::new, |info| info.tlv());
        let mut out = Vec::new();
        self.request(&key, &canonical, &sent).write(&mut out);
        out
    }

    /// The request with its faults, signed over `sent`.
    fn request(&self, key: &Key, canonical: &Node, sent: &[u8]) -> Node {
        let mut request = Node::sequence(vec![
            canonical.clone(),
            self.signature.algorithm_node(key),
            self.signature.node(key, sent, &canonical.tlv()),
        ])
        .named("request");
        for fault in &self.faults {
            fault.apply(&mut request);
        }
        request
    }

    /// CertificationRequestInfo without faults.
    fn info(&self, key: &Key) -> Node {
        let san = self.san();
        let extensions = self.extensions.clone().unwrap_or_else(|| {
            if san.is_empty() {
                Vec::new()
            } else {
                vec![Extension::San]
            }
        });
        let attributes = self.attributes.clone().unwrap_or_else(|| {
            if extensions.is_empty() {
                Vec::new()
            } else {
                vec![Attribute::ExtensionRequest]
            }
        });
        let extension = |e: &Extension| e.node(&san, self.san_critical);
        let attributes = attributes
            .iter()
            .map(|a| a.node(&extensions, &extension))
            .collect();
        Node::sequence(vec![
            Node::unsigned(&[self.version]).named("version"),
            name(&self.rdns()).named("subject"),
            key.spki(self.compressed),
            // Unsorted: Go keeps the given order, and a second attribute is already a fault.
            Node::constructed(0xa0, attributes).named("attributes"),
        ])
        .named("info")
    }

    fn san(&self) -> Vec<GeneralName> {
        let dns = self.dns.iter().cloned().map(GeneralName::Dns);
        let ip = self.ip.iter().cloned().map(GeneralName::Ip);
        dns.chain(ip).chain(self.names.iter().cloned()).collect()
    }

    fn rdns(&self) -> Vec<Vec<NameAttribute>> {
        if let Some(subject) = &self.subject {
            return subject.clone();
        }
        let attribute = |name: &str, value: &Octets| NameAttribute::new(name, &value.0);
        let org: Vec<_> = self.org.iter().map(|value| attribute("O", value)).collect();
        let own = [Octets::from(&format!("system:node:{}", self.node))];
        let cn = self.cn.as_deref().unwrap_or(&own);
        let org = if org.is_empty() { None } else { Some(org) };
        org.into_iter()
            .chain(cn.iter().map(|value| vec![attribute("CN", value)]))
            .collect()
    }
}
