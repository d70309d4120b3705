//! Checks of all certificates of a run, each against the Node of its vector.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use x509_parser::prelude::{GeneralName, parse_x509_pem};

use super::plan::requestors_node;
use crate::cases::issued_certificates;
use testkit::vector::Vector;

/// The types of addresses that a kubelet may request (kubernetes
/// `pkg/kubelet/certificate/kubelet.go`, `addressesToHostnamesAndIPs`).
const ASKED_FOR: [&str; 5] = [
    "Hostname",
    "InternalIP",
    "ExternalIP",
    "InternalDNS",
    "ExternalDNS",
];

const SOON: Duration = Duration::from_secs(30);

type Certificates = BTreeMap<String, Vec<u8>>;

/// The certificates of all requests, by request name, including deleted ones.
pub struct Issued {
    seen: watch::Receiver<Certificates>,
    collecting: JoinHandle<()>,
}

impl Issued {
    /// Collects from now on. A watch misses none, not even of requests that are deleted at once.
    pub fn collect(admin: Client) -> Self {
        let (all, seen) = watch::channel(Certificates::new());
        let api: Api<CertificateSigningRequest> = Api::all(admin);
        let collecting = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let request = match event {
                    Ok(Event::Apply(one) | Event::InitApply(one) | Event::Delete(one)) => one,
                    Ok(Event::Init | Event::InitDone) | Err(_) => continue,
                };
                let certificate = request.status.and_then(|status| status.certificate);
                if let (Some(name), Some(pem)) = (request.metadata.name, certificate) {
                    all.send_if_modified(|all| all.insert(name, pem.0).is_none());
                }
            }
        });
        Self { seen, collecting }
    }

    /// Waits until there are this many for vectors. Returns `None` after the deadline.
    pub async fn at_least(&mut self, least: usize) -> Option<Certificates> {
        let of_vectors = |all: &Certificates| {
            let names = all.keys().filter(|name| name.starts_with("vector-"));
            names.count()
        };
        let seen = self.seen.wait_for(|all| of_vectors(all) >= least);
        let seen = tokio::time::timeout(SOON, seen).await;
        Some(seen.ok()?.ok()?.clone())
    }

    /// Returns all certificates so far.
    pub fn so_far(&self) -> Certificates {
        self.seen.borrow().clone()
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.collecting.abort();
    }
}

/// A DNS name or an address in any spelling, parsed without the code under test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

/// Checks that the certificate belongs to the requestor, and that all its names are among the
/// addresses of the requestor's Node. Returns the number of names.
pub fn check(pem: &[u8], vector: &Vector) -> Result<usize> {
    let (_, pem) = parse_x509_pem(pem)?;
    let certificate = pem.parse_x509()?;
    issued_certificates::is_serving(&certificate, &vector.requestor.username)?;
    let node = requestors_node(vector).context("a certificate without a Node")?;
    let addresses: BTreeSet<Name> = node
        .addresses
        .iter()
        .flatten()
        .filter(|(kind, _)| ASKED_FOR.contains(&kind.as_str()))
        .map(|(_, address)| read(address))
        .collect();
    let names = certificate.subject_alternative_name()?.context("no SAN")?;
    let names = &names.value.general_names;
    ensure!(!names.is_empty(), "an empty SAN");
    for name in names {
        let name = if let GeneralName::DNSName(name) = name {
            Name::Dns(plain(name))
        } else if let GeneralName::IPAddress(bytes) = name {
            let ip = issued_certificates::address(bytes);
            Name::Ip(ip.with_context(|| format!("IP {bytes:?}"))?)
        } else {
            bail!("{name:?}");
        };
        ensure!(
            addresses.contains(&name),
            "{name:?} is not among {addresses:?}"
        );
    }
    Ok(names.len())
}

fn read(address: &str) -> Name {
    let strict = address.parse::<IpAddr>().ok();
    match strict.or_else(|| with_zeros(address)) {
        Some(ip) => Name::Ip(ip.to_canonical()),
        None => Name::Dns(plain(address)),
    }
}

/// Parses an IPv4 address with leading zeros, which Kubernetes accepts (`ParseIPSloppy`).
fn with_zeros(address: &str) -> Option<IpAddr> {
    let numbers: Vec<u8> = address
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let numbers = <[u8; 4]>::try_from(numbers).ok()?;
    Some(Ipv4Addr::from(numbers).into())
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
