//! Names and addresses that several Nodes may have.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields;
use crate::csr::names::San;
use crate::evidence::to_ipv4_mapped;

/// A network, an address or a DNS name that several Nodes may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedSan {
    /// Every address of a network.
    Network(IpNet),
    /// One address or DNS name.
    San(San),
}

impl SharedSan {
    /// Returns true if this SAN is shared.
    pub fn contains(&self, san: &San) -> bool {
        match (self, san) {
            (SharedSan::Network(network), San::Ip(ip)) => network.contains(ip),
            (SharedSan::Network(_), San::Dns(_)) => false,
            (SharedSan::San(own), san) => own == san,
        }
    }

    /// Returns true for a network that is wider than one site's: /24, or /120 for IPv6.
    pub fn is_wide(&self) -> bool {
        match self {
            SharedSan::Network(IpNet::V4(network)) => network.prefix_len() < 24,
            SharedSan::Network(IpNet::V6(network)) => network.prefix_len() < 120,
            SharedSan::San(_) => false,
        }
    }
}

impl FromStr for SharedSan {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(network) = text.parse::<IpNet>() {
            let is_exact = network == network.trunc() && to_ipv4_mapped(&network).is_none();
            return is_exact.then_some(SharedSan::Network(network)).ok_or(());
        }
        // An address in another spelling would be a DNS name to no one.
        let is_address = text.parse::<IpAddr>().is_ok();
        let san = if is_address {
            San::from_ip_text(text)
        } else {
            San::from_host_text(text)
        };
        san.map(SharedSan::San).ok_or(())
    }
}

impl fmt::Display for SharedSan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedSan::Network(network) => network.fmt(f),
            SharedSan::San(San::Dns(name)) => name.fmt(f),
            SharedSan::San(San::Ip(ip)) => ip.fmt(f),
        }
    }
}

impl Serialize for SharedSan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SharedSan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields::parsed(deserializer, |_| {
            "an IP address, a network without host bits such as `10.0.0.0/24`, or a DNS name"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_as_what_it_is() {
        let is_read = |text: &str| text.parse::<SharedSan>().is_ok();
        assert!(is_read("10.0.0.0/24"));
        assert!(is_read("fd00::/120"));
        assert!(!is_read("10.0.0.1/24"));
        assert!(!is_read("::ffff:10.0.0.0/120"));
    }
}
