//! Names and addresses that no node may have. A certificate for one of them impersonates the API
//! server or a Service.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::fact::Protection;
use super::identity::{Identity, IdentityKind, ServedCertificate};
use super::recently_protected::{ProtectedObject, RecentlyProtected};
use crate::csr::names::{DnsName, San};

/// The identities of one origin.
#[derive(Debug)]
struct OriginEntry {
    sans: HashMap<San, IdentityKind>,
    networks: Vec<(IpNet, IdentityKind)>,
    domains: Vec<DnsName>,
    certificate: Option<ServedCertificate>,
}

impl OriginEntry {
    fn new(protection: Protection) -> OriginEntry {
        let kind = protection.kind;
        let (sans, networks) = (protection.sans, protection.networks);
        OriginEntry {
            domains: sans.iter().filter_map(cluster_domain).collect(),
            sans: sans.into_iter().map(|san| (san, kind)).collect(),
            networks: networks.into_iter().map(|net| (net, kind)).collect(),
            certificate: protection.certificate,
        }
    }

    fn has(&self, object: &ProtectedObject) -> bool {
        match object {
            ProtectedObject::San(san) => self.sans.contains_key(san),
            ProtectedObject::Network(network) => {
                self.networks.iter().any(|(own, _)| own == network)
            }
        }
    }
}

/// The protected identities of the cluster, by origin.
#[derive(Debug, Default)]
pub struct Protected {
    by_origin: BTreeMap<String, OriginEntry>,
    recent: RecentlyProtected,
}

impl Protected {
    /// Replaces all identities of an origin. Identities that are dropped count as recently protected.
    /// Returns true if anything changed.
    pub(super) fn replace(&mut self, protection: Protection, now: Timestamp) -> bool {
        let origin = protection.origin.clone();
        let entry = OriginEntry::new(protection);
        let before = self.by_origin.remove(&origin);
        let changes = before.as_ref().is_none_or(|old| {
            old.sans != entry.sans
                || old.networks != entry.networks
                || old.certificate != entry.certificate
        });
        if let Some(before) = before {
            self.retire(&origin, before, |object| !entry.has(object), now);
        }
        self.by_origin.insert(origin, entry);
        changes
    }

    /// Removes an origin. Its identities count as recently protected. Returns true if it existed.
    pub(super) fn remove(&mut self, origin: &str, now: Timestamp) -> bool {
        let Some(before) = self.by_origin.remove(origin) else {
            return false;
        };
        self.retire(origin, before, |_| true, now);
        true
    }

    fn retire(
        &mut self,
        origin: &str,
        before: OriginEntry,
        is_removed: impl Fn(&ProtectedObject) -> bool,
        now: Timestamp,
    ) {
        let certificate = before.certificate.as_ref();
        let sans = before.sans.into_iter();
        let sans = sans.map(|(san, kind)| (ProtectedObject::San(san), kind));
        let networks = before.networks.into_iter();
        let networks = networks.map(|(network, kind)| (ProtectedObject::Network(network), kind));
        for (object, kind) in sans
            .chain(networks)
            .filter(|(object, _)| is_removed(object))
        {
            self.recent.add(object, kind, origin, certificate, now);
        }
    }

    /// The identities that recently protected this SAN, each with the time at which that expires.
    pub fn find_recent(
        &self,
        san: &San,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Identity, Timestamp)> {
        self.recent.find(san, now)
    }

    /// Drops recently protected identities that have expired.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.recent.prune(now);
    }

    /// The identities that protect this SAN.
    pub fn find(&self, san: &San) -> impl Iterator<Item = Identity> {
        self.by_origin.iter().filter_map(move |(origin, entry)| {
            let network = match san {
                San::Ip(ip) => entry
                    .networks
                    .iter()
                    .find(|(network, _)| network.contains(ip)),
                San::Dns(_) => None,
            };
            let kind = entry.sans.get(san).or(network.map(|(_, kind)| kind))?;
            Some(Identity {
                kind: *kind,
                origin: origin.clone(),
                certificate: entry.certificate.clone(),
            })
        })
    }

    /// Returns true if this origin protects anything.
    pub(super) fn has_origin(&self, origin: &str) -> bool {
        self.by_origin.contains_key(origin)
    }

    /// Returns true if an API server listens at this name or address.
    pub fn is_endpoint(&self, san: &San) -> bool {
        let kind = Some(&IdentityKind::ApiServerEndpoint);
        let mut entries = self.by_origin.values();
        entries.any(|entry| entry.sans.get(san) == kind)
    }

    /// The names and addresses that the origin of an identity protects.
    pub fn sans_of(&self, identity: &Identity) -> impl Iterator<Item = &San> {
        let entry = self.by_origin.get(&identity.origin);
        entry.into_iter().flat_map(|entry| entry.sans.keys())
    }

    /// Returns true if an API server listens in this network, so it is none of pods.
    pub fn has_endpoint_in(&self, network: &IpNet) -> bool {
        self.by_origin.values().any(|entry| {
            entry.sans.iter().any(|(san, kind)| {
                let is_within = matches!(san, San::Ip(ip) if network.contains(ip));
                is_within && *kind == IdentityKind::ApiServerEndpoint
            })
        })
    }

    /// Returns true if the certificate of every endpoint was read.
    pub fn has_all_certificates(&self) -> bool {
        let endpoints = self.by_origin.values().flat_map(|entry| {
            let sans = entry.sans.iter();
            sans.filter(|(_, kind)| **kind == IdentityKind::ApiServerEndpoint)
        });
        endpoints.into_iter().all(|(endpoint, _)| {
            self.by_origin
                .values()
                .any(|entry| match &entry.certificate {
                    Some(ServedCertificate {
                        host: Some(host), ..
                    }) => host == endpoint,
                    Some(ServedCertificate { host: None, .. }) => entry.sans.contains_key(endpoint),
                    None => false,
                })
        })
    }

    /// The endpoints at which this certificate is served: the one at which it was read. A certificate
    /// from a file counts for every endpoint that it names.
    pub fn endpoints_of(&self, identity: &Identity) -> SmallVec<[San; 1]> {
        match &identity.certificate {
            None => SmallVec::new(),
            Some(ServedCertificate {
                host: Some(host), ..
            }) => {
                let host = Some(host).filter(|host| self.is_endpoint(host));
                host.into_iter().cloned().collect()
            }
            Some(ServedCertificate { host: None, .. }) => {
                let entry = self.by_origin.get(&identity.origin);
                let sans = entry.into_iter().flat_map(|entry| entry.sans.keys());
                sans.filter(|san| self.is_endpoint(san)).cloned().collect()
            }
        }
    }

    /// Returns true if the endpoint is of another machine than the Node with this name: the certificate that is
    /// served there does not have the name, and has that of another Node, or the certificate of another endpoint
    /// has the name. Certificates that existed recently count where none exists now.
    pub fn is_of_other_name(
        &self,
        endpoint: &San,
        name: &San,
        is_other_node: impl Fn(&San) -> bool,
        now: Timestamp,
    ) -> bool {
        let there = self.served_at(endpoint, now);
        if there.is_empty() || there.contains(&name) {
            return false;
        }
        let was_endpoint = |host: &San| {
            let mut recent = self.find_recent(host, now);
            recent.any(|(identity, _)| identity.kind == IdentityKind::ApiServerEndpoint)
        };
        let mut all = self.served().chain(self.recent.served(now));
        let is_elsewhere = all.any(|(host, san)| {
            host != endpoint && san == name && (self.is_endpoint(host) || was_endpoint(host))
        });
        is_elsewhere || there.iter().any(|san| is_other_node(san))
    }

    /// The names and addresses in the certificate at this endpoint, or else in the one that was there recently.
    pub fn served_at(&self, endpoint: &San, now: Timestamp) -> SmallVec<[&San; 16]> {
        let at = |(host, san)| (host == endpoint).then_some(san);
        let there: SmallVec<[&San; 16]> = self.served().filter_map(at).collect();
        if there.is_empty() {
            return self.recent.served(now).filter_map(at).collect();
        }
        there
    }

    /// The names and addresses that certificates hold, each with the host that serves it.
    fn served(&self) -> impl Iterator<Item = (&San, &San)> {
        self.by_origin.values().flat_map(|entry| {
            let certificate = entry.certificate.as_ref();
            let host = certificate.and_then(|served| served.host.as_ref());
            let sans = move |host| entry.sans.keys().map(move |san| (host, san));
            host.into_iter().flat_map(sans)
        })
    }

    /// The domains of the cluster's Services, from the certificates of its API servers, each with its
    /// origin.
    pub fn cluster_domains(&self) -> impl Iterator<Item = (&DnsName, &str)> {
        self.by_origin.iter().flat_map(|(origin, entry)| {
            let domains = entry.domains.iter();
            domains.map(move |domain| (domain, origin.as_str()))
        })
    }

    /// Every protected name, address and network as text, each with its origin.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        self.by_origin.iter().flat_map(|(origin, entry)| {
            let sans = entry.sans.keys().map(San::to_string);
            let networks = entry
                .networks
                .iter()
                .map(|(network, _)| network.to_string());
            sans.chain(networks)
                .map(move |text| (origin.as_str(), text))
        })
    }
}

/// The cluster domain, if this is the full name of the API server's Service.
fn cluster_domain(san: &San) -> Option<DnsName> {
    match san {
        San::Dns(name) => name
            .as_str()
            .strip_prefix("kubernetes.default.svc.")
            .and_then(|domain| DnsName::parse(domain.as_bytes()).ok()),
        San::Ip(_) => None,
    }
}

/// The kind of a reserved address, such as `a loopback address`; `None` for an address that a node
/// can have.
pub fn reserved_kind(ip: IpAddr) -> Option<&'static str> {
    const METADATA_V4: [Ipv4Addr; 4] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    const METADATA_V6: [Ipv6Addr; 3] = [
        Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
        Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    match ip {
        IpAddr::V4(v4) if METADATA_V4.contains(&v4) => Some("a cloud's metadata service"),
        IpAddr::V6(v6) if METADATA_V6.contains(&v6) => Some("a cloud's metadata service"),
        // All services of EC2 that instances reach locally.
        IpAddr::V6(v6) if matches!(v6.segments(), [0xfd00, 0xec2, ..]) => {
            Some("a cloud's metadata service")
        }
        _ if ip.is_loopback() => Some("a loopback address"),
        _ if ip.is_unspecified() => Some("the unspecified address"),
        _ if ip.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if matches!(v4.octets(), [0, ..]) => {
            Some("an address that no host can have")
        }
        IpAddr::V6(v6) if embeds_ipv4(v6) => Some("an IPv4 address embedded in an IPv6 address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Returns true for IPv4-compatible addresses (RFC 4291, 2.5.5.1), IPv4-translated ones (RFC 2765,
/// 2.1), and for those of NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056) and Teredo (RFC 4380). A
/// translator or relay on the path would route them to the IPv4 address.
fn embeds_ipv4(v6: Ipv6Addr) -> bool {
    matches!(
        v6.segments(),
        [0, 0, 0, 0, 0, 0, _, _]
            | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
            | [0x64, 0xff9b, 1, ..]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x2002, ..]
            | [0x2001, 0, ..]
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn san(text: &str) -> San {
        San::from_host_text(text).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn protection(sans: &[&San], networks: &[&str]) -> Protection {
        Protection {
            origin: "a".to_owned(),
            kind: IdentityKind::Service,
            sans: sans.iter().copied().cloned().collect(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            certificate: None,
        }
    }

    #[test]
    fn an_equal_protection_is_not_a_change() {
        let mut protected = Protected::default();
        let (one, two) = (san("10.0.0.1"), san("10.0.0.2"));
        let mut set =
            |sans: &[&San], networks: &[&str]| protected.replace(protection(sans, networks), at(1));
        assert!(set(&[&one], &[]));
        assert!(!set(&[&one], &[]));
        assert!(set(&[&two], &[]));
        assert!(set(&[&two], &["10.1.0.0/16"]));
        assert!(!set(&[&two], &["10.1.0.0/16"]));
        assert!(set(&[&two], &["10.2.0.0/16"]));
        let mut shown: Vec<_> = protected.iter().collect();
        shown.sort();
        let expected = [("a", "10.2.0.0/16".to_owned()), ("a", "IP:10.0.0.2".into())];
        assert_eq!(shown, expected);
        assert!(protected.remove("a", at(2)));
        assert!(!protected.remove("a", at(2)));
    }

    #[test]
    fn only_removed_identities_are_recently_protected() {
        let mut protected = Protected::default();
        let (one, two) = (san("10.0.0.1"), san("10.0.0.2"));
        let both = protection(&[&one, &two], &["10.1.0.0/16", "10.2.0.0/16"]);
        protected.replace(both, at(1));
        let recent = |protected: &Protected, san: &San| protected.find_recent(san, at(3)).count();
        assert_eq!(recent(&protected, &one), 0);
        protected.replace(protection(&[&two], &["10.2.0.0/16"]), at(2));
        assert_eq!(protected.find(&one).count(), 0);
        assert_eq!(protected.find(&two).count(), 1);
        assert_eq!(recent(&protected, &one), 1);
        assert_eq!(recent(&protected, &two), 0);
        assert_eq!(recent(&protected, &san("10.1.0.1")), 1);
        assert_eq!(recent(&protected, &san("10.2.0.1")), 0);
        protected.remove("a", at(2));
        assert_eq!(recent(&protected, &two), 1);
        protected.prune(at(2 + 3600));
        assert_eq!(recent(&protected, &two), 0);
    }

    #[test]
    fn addresses_that_no_host_has_are_reserved() {
        for (ip, what) in [
            ("0.0.0.0", "the unspecified address"),
            ("::", "the unspecified address"),
            ("0.0.0.1", "an address that no host can have"),
            ("127.0.0.2", "a loopback address"),
            ("255.255.255.255", "the broadcast address"),
        ] {
            assert_eq!(reserved_kind(ip.parse().unwrap()), Some(what), "{ip}");
        }
    }
}
