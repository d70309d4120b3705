//! The request for a serving certificate that a Node's kubelet sends, made from the Node's addresses.
//!
//! The names are those of `newGetTemplateFn` and `addressesToHostnamesAndIPs` (kubernetes 1.36,
//! `pkg/kubelet/certificate/kubelet.go`), the encoding is that of Go's `x509.CreateCertificateRequest`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};
use thiserror::Error;

use judge::csr::names::San;
use judge::csr::{
    CsrObject, KUBELET_SERVING_SIGNER, NODE_USER_PREFIX, NODES_GROUP, PreservedMetadata, Request,
    Requestor,
};

/// The groups of a kubelet, by its client certificate.
const GROUPS: [&str; 2] = [NODES_GROUP, "system:authenticated"];
/// The usages that a kubelet with an elliptic-curve key asks for.
const USAGES: [&str; 2] = ["digital signature", "server auth"];
/// The name of a request that exists only here.
const NAME: &str = "csr-doctor";
/// A credential ID as the API server records it for a client certificate.
const CREDENTIAL_ID: &str =
    "X509SHA256=0000000000000000000000000000000000000000000000000000000000000000";

/// A request that a kubelet does not send.
#[derive(Debug, Error)]
pub enum NotSent {
    /// A kubelet waits until its Node has an IP address.
    #[error("its Node has no IP address")]
    NoAddress,
    /// A name cannot be part of a request.
    #[error("its request cannot be encoded: {0}")]
    Encoding(#[from] rcgen::Error),
}

/// Builder of kubelets' requests, all with one key.
pub struct KubeletRequests {
    key: KeyPair,
    groups: Arc<[String]>,
    usages: Arc<[String]>,
    signer: Arc<str>,
}

impl KubeletRequests {
    /// Creates the key: P-256, as a kubelet's.
    pub fn new() -> Result<KubeletRequests, rcgen::Error> {
        Ok(KubeletRequests {
            key: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?,
            groups: GROUPS.map(str::to_owned).into(),
            usages: USAGES.map(str::to_owned).into(),
            signer: KUBELET_SERVING_SIGNER.into(),
        })
    }

    /// The request of this node's kubelet, from the types and values in `status.addresses`.
    pub fn of_node<'a>(
        &self,
        node: &str,
        addresses: impl IntoIterator<Item = (&'a str, &'a str)>,
        created: Timestamp,
    ) -> Result<Request, NotSent> {
        let (names, ips) = names_and_ips(addresses);
        if ips.is_empty() {
            return Err(NotSent::NoAddress);
        }
        let username = format!("{NODE_USER_PREFIX}{node}");
        let pem = self.pem(&username, names, ips)?;
        let object = CsrObject {
            name: NAME.to_owned(),
            uid: NAME.into(),
            resource_version: "0".to_owned(),
            created,
            terminating: false,
            signer: self.signer.clone(),
            requestor: Requestor {
                username: username.into(),
                uid: String::new(),
                groups: self.groups.clone(),
                credential_ids: vec![CREDENTIAL_ID.to_owned()],
            },
            usages: self.usages.clone(),
            expiration_seconds: None,
            settled: None,
            preserved: PreservedMetadata::default(),
        };
        Ok(Request::read(object, pem.as_bytes()))
    }

    fn pem(
        &self,
        username: &str,
        names: BTreeSet<&str>,
        ips: Vec<IpAddr>,
    ) -> Result<String, rcgen::Error> {
        let printable = |text: &str| PrintableString::try_from(text).map(DnValue::PrintableString);
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, printable(NODES_GROUP)?);
        subject.push(DnType::CommonName, printable(username)?);
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        for name in names {
            let name = SanType::DnsName(Ia5String::try_from(name)?);
            params.subject_alt_names.push(name);
        }
        let ips = ips.into_iter().map(SanType::IpAddress);
        params.subject_alt_names.extend(ips);
        let pem = params.serialize_request(&self.key)?.pem()?;
        // On Windows, rcgen ends lines with CR LF.
        Ok(pem.replace("\r\n", "\n"))
    }
}

/// The DNS names and IP addresses that a kubelet asks for, each sorted by its text. As in the kubelet,
/// two spellings of an address are two addresses.
fn names_and_ips<'a>(
    addresses: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (BTreeSet<&'a str>, Vec<IpAddr>) {
    let mut names = BTreeSet::new();
    let mut ips = BTreeMap::new();
    for (kind, address) in addresses {
        let ip = match San::from_ip_text(address) {
            Some(San::Ip(ip)) => Some(ip),
            Some(San::Dns(_)) | None => None,
        };
        match (kind, ip) {
            _ if address.is_empty() => {}
            ("Hostname" | "InternalIP" | "ExternalIP", Some(ip)) => {
                ips.insert(address, ip);
            }
            ("Hostname", None) | ("InternalDNS" | "ExternalDNS", _) => {
                names.insert(address);
            }
            _ => {}
        }
    }
    let mut ips: Vec<IpAddr> = ips.into_values().collect();
    ips.sort_by_key(ToString::to_string);
    (names, ips)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sans(addresses: &[(&str, &str)]) -> Result<Vec<String>, NotSent> {
        let requests = KubeletRequests::new().unwrap();
        let addresses = addresses.iter().copied();
        let request = requests.of_node("node-1", addresses, Timestamp::UNIX_EPOCH)?;
        assert!(request.findings.is_empty(), "{:?}", request.findings);
        let content = request.content.unwrap();
        assert_eq!(content.common_name.as_deref(), Some("system:node:node-1"));
        Ok(content.sans.iter().map(San::to_string).collect())
    }

    #[test]
    fn each_type_of_address_becomes_the_san_of_a_kubelet() {
        let asked = sans(&[
            ("InternalIP", "10.0.0.2"),
            ("InternalIP", "10.0.0.1"),
            ("ExternalIP", "fd00::1"),
            ("ExternalIP", "not-an-address"),
            ("Hostname", "node-1"),
            ("InternalDNS", "node-1.corp.example"),
            ("ExternalDNS", "node-1.corp.example"),
            ("ExternalDNS", ""),
            ("Unknown", "other"),
        ]);
        let expected = [
            "DNS:node-1",
            "DNS:node-1.corp.example",
            "IP:10.0.0.1",
            "IP:10.0.0.2",
            "IP:fd00::1",
        ];
        assert_eq!(asked.unwrap(), expected);
    }

    #[test]
    fn a_host_name_that_is_an_address_is_asked_for_as_an_address() {
        assert_eq!(sans(&[("Hostname", "10.0.0.1")]).unwrap(), ["IP:10.0.0.1"]);
    }

    #[test]
    fn nothing_is_sent_without_an_ip_address() {
        for addresses in [&[][..], &[("Hostname", "node-1")], &[("InternalIP", "x")]] {
            assert!(matches!(sans(addresses), Err(NotSent::NoAddress)));
        }
        let encoding = sans(&[("InternalIP", "10.0.0.1"), ("Hostname", "nöde")]);
        assert!(matches!(encoding, Err(NotSent::Encoding(_))));
    }
}
