//! Deserializers for durations and networks.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SignedDuration, D::Error> {
    parsed(deserializer, |_| {
        "a duration such as `15m` or `8760h`".to_owned()
    })
}

pub(crate) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = Vec::deserialize(deserializer)?;
    Ok(networks
        .into_iter()
        .map(|Network(network)| network)
        .collect())
}

/// A network. Its parse error has an example.
struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = |found: &str| {
            let example = found.parse::<IpAddr>().map_or_else(
                |_| "10.0.0.0/8".to_owned(),
                |ip| IpNet::from(ip).to_string(),
            );
            format!("a network such as `{example}`")
        };
        parsed(deserializer, expected).map(Network)
    }
}

/// Parses a string. The error is `expected …, found …`.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
    expected: impl Fn(&str) -> String,
) -> Result<T, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let wrong = |found: &str| {
        let expected = expected(found);
        de::Error::custom(format!("expected {expected}, found `{found}`"))
    };
    let Some(text) = found.as_str() else {
        return Err(wrong(&found.to_string()));
    };
    text.parse().map_err(|_| wrong(text))
}
