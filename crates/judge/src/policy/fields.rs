//! Reading the values whose text has a form of its own. A value of another form is told with the
//! path of its field, which a deserializer of a value does not know by itself.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

macro_rules! fields {
    ($($name:ident: $type:ty = $read:ident($path:literal))*) => {
        $(pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            $read(deserializer, $path)
        })*
    };
}

fields! {
    max_expiration: SignedDuration = duration("spec.request.maxExpiration")
    max_age: SignedDuration = duration("spec.request.maxAge")
    addresses_stable_for: SignedDuration = duration("spec.proof.addressesStableFor")
    name_networks: Vec<IpNet> = networks("spec.names.networks")
    dns_timeout: SignedDuration = duration("spec.sources.dns.timeout")
    serving_certificate_timeout: SignedDuration = duration("spec.sources.servingCertificate.timeout")
    protected_networks: Vec<IpNet> = networks("spec.protected.networks")
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    field: &str,
) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let example = "a duration such as `15m` or `8760h`";
        de::Error::custom(format!("{field}: expected {example}, found `{text}`"))
    })
}

fn networks<'de, D: Deserializer<'de>>(
    deserializer: D,
    field: &str,
) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        text.parse().map_err(|_| {
            let example = text.parse::<IpAddr>().map_or_else(
                |_| "10.0.0.0/8".to_owned(),
                |ip| IpNet::from(ip).to_string(),
            );
            de::Error::custom(format!(
                "{field}: expected a network such as `{example}`, found `{text}`"
            ))
        })
    };
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    texts.into_iter().map(network).collect()
}
