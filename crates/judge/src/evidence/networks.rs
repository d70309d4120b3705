//! Index of networks and their owners. The time of a lookup by address does not depend on the
//! number of networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use smallvec::SmallVec;

/// Networks, each with its owners.
#[derive(Debug)]
pub struct Networks<T> {
    owners: BTreeMap<IpNet, SmallVec<[T; 1]>>,
    /// The number of networks for each address family (true for IPv6) and prefix length.
    lengths: BTreeMap<(bool, u8), usize>,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Networks {
            owners: BTreeMap::new(),
            lengths: BTreeMap::new(),
        }
    }
}

impl<T> Networks<T> {
    /// Adds an owner's claim on a network.
    pub fn insert(&mut self, network: IpNet, owner: T) {
        let network = network.trunc();
        let owners = self.owners.entry(network).or_default();
        if owners.is_empty() {
            *self.lengths.entry(length(&network)).or_default() += 1;
        }
        owners.push(owner);
    }

    /// Removes one claim of an owner.
    pub fn remove(&mut self, network: IpNet, is_owner: impl Fn(&T) -> bool) {
        let network = network.trunc();
        let Some(owners) = self.owners.get_mut(&network) else {
            return;
        };
        if let Some(position) = owners.iter().position(is_owner) {
            owners.swap_remove(position);
        }
        if owners.is_empty() {
            self.owners.remove(&network);
            if let Some(count) = self.lengths.get_mut(&length(&network)) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&length(&network));
                }
            }
        }
    }

    /// The networks that contain the address, with their owners.
    pub fn containing(&self, ip: IpAddr) -> impl Iterator<Item = (IpNet, &T)> {
        self.lengths
            .keys()
            .filter(move |(is_ipv6, _)| *is_ipv6 == ip.is_ipv6())
            .filter_map(move |(_, prefix)| IpNet::new(ip, *prefix).ok())
            .filter_map(|network| self.owners.get_key_value(&network.trunc()))
            .flat_map(|(network, owners)| owners.iter().map(|owner| (*network, owner)))
    }
}

/// Converts an IPv4-mapped IPv6 network (RFC 4291, 2.5.5.2) to its IPv4 network; `None` for any
/// other. Addresses are compared in their IPv4 form, so a mapped network would contain none.
pub fn to_ipv4_mapped(network: &IpNet) -> Option<IpNet> {
    let IpNet::V6(v6) = network else {
        return None;
    };
    let address = v6.addr().to_ipv4_mapped()?;
    let prefix = v6.prefix_len().checked_sub(96)?;
    let v4 = Ipv4Net::new(address, prefix).ok()?;
    Some(IpNet::V4(v4.trunc()))
}

fn length(network: &IpNet) -> (bool, u8) {
    (network.addr().is_ipv6(), network.prefix_len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_network_and_forgets_removed_ones() {
        let mut networks = Networks::default();
        networks.insert("10.1.0.0/16".parse().unwrap(), "a");
        networks.insert("10.1.2.0/24".parse().unwrap(), "b");
        networks.insert("fd00::/8".parse().unwrap(), "c");
        let at = |networks: &Networks<&'static str>, ip: &str| {
            let mut found: Vec<_> = networks
                .containing(ip.parse().unwrap())
                .map(|(_, owner)| *owner)
                .collect();
            found.sort_unstable();
            found
        };
        assert_eq!(at(&networks, "10.1.2.3"), ["a", "b"]);
        assert_eq!(at(&networks, "10.1.3.3"), ["a"]);
        assert_eq!(at(&networks, "fd12::1"), ["c"]);
        assert!(at(&networks, "10.2.0.1").is_empty());
        networks.remove("10.1.0.0/16".parse().unwrap(), |owner| *owner == "a");
        assert_eq!(at(&networks, "10.1.2.3"), ["b"]);
        assert!(at(&networks, "10.1.3.3").is_empty());
        assert_eq!(networks.lengths.len(), 2);
    }

    #[test]
    fn a_network_stays_until_its_last_owner_goes() {
        let mut networks = Networks::default();
        let [one, two] = ["10.1.0.0/16", "10.2.0.0/16"].map(|text| text.parse().unwrap());
        networks.insert(one, "a");
        networks.insert(one, "b");
        networks.insert(two, "a");
        let of_one = |networks: &Networks<&'static str>| -> Vec<&'static str> {
            let found = networks.containing("10.1.0.1".parse().unwrap());
            found.map(|(_, owner)| *owner).collect()
        };
        networks.remove(one, |owner| *owner == "c");
        networks.remove(one, |owner| *owner == "a");
        assert_eq!(of_one(&networks), ["b"]);
        networks.remove(two, |owner| *owner == "a");
        assert_eq!(of_one(&networks), ["b"]);
        networks.remove(one, |owner| *owner == "b");
        assert!(networks.lengths.is_empty() && networks.owners.is_empty());
    }

    #[test]
    fn only_ipv4_mapped_networks_have_an_ipv4_form() {
        for (network, expected) in [
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.1.2.3/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.1/128", Some("10.0.0.1/32")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:0:0/95", None),
            ("::/0", None),
            ("fd00::/8", None),
            ("10.0.0.0/8", None),
        ] {
            let found = to_ipv4_mapped(&network.parse().unwrap());
            assert_eq!(
                found,
                expected.map(|text| text.parse().unwrap()),
                "{network}"
            );
        }
    }
}
