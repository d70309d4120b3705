//! Parsing of policies, and those that ship.

use super::validation::validate;
use super::{KIND, Policy};
use crate::api_version::API_VERSION;
use crate::yaml;

macro_rules! shipped {
    ($($name:literal)*) => {
        /// The shipped policies, each with its name and its text from `policies/`.
        pub const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../policies/", $name, ".yaml"))),)*];
    };
}

shipped! {
    "default" "strict" "inventory" "cluster-api" "openshift" "metal3" "gardener" "dns"
    "cloud-provider"
}

/// Maximum size of a policy, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Parses and validates a policy.
pub fn parse(text: &str) -> Result<Policy, yaml::Error> {
    let mut policy: Policy = yaml::read(text, MAX_BYTES, (API_VERSION, KIND))?;
    validate(&policy).map_err(|error| error.located_in(text))?;
    policy.digest = digest(text);
    Ok(policy)
}

/// The policy `default`, which is used if no policy is configured.
pub fn default_policy() -> Result<Policy, yaml::Error> {
    parse(include_str!("../../../../policies/default.yaml"))
}

/// The shipped policy of this name; `None` for an unknown name.
pub fn shipped(name: &str) -> Option<Result<Policy, yaml::Error>> {
    let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
    Some(parse(text))
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
