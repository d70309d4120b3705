//! Parsing and validation of policies. Unknown or contradictory values are rejected.

use jiff::SignedDuration;
use thiserror::Error;

use super::groups::can_be_allowed;
use super::{IndependentSource, KIND, MOST_NAMES, Policy, Reaction};
use crate::api_version::API_VERSION;
use crate::csr::names::{DnsName, NodeName, San};
use crate::evidence::to_ipv4_mapped;
use crate::{node_pattern, yaml};

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

/// An error in a policy.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The text is not YAML of the expected shape.
    #[error(transparent)]
    Shape(#[from] yaml::Error),
    /// A field has a value that it must not have.
    #[error("{field}: expected {expected}, found `{found}`")]
    Field {
        /// The path of the field.
        field: &'static str,
        /// The values that it may have.
        expected: String,
        /// The value that it has.
        found: String,
    },
}

/// Parses and validates a policy.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    let mut policy: Policy = yaml::read(text, MAX_BYTES, (API_VERSION, KIND))?;
    check(&policy)?;
    policy.digest = digest(text);
    Ok(policy)
}

/// The policy `default`, which is used if no policy is configured.
pub fn default_policy() -> Result<Policy, PolicyError> {
    parse(include_str!("../../../../policies/default.yaml"))
}

/// The shipped policy of this name; `None` for an unknown name.
pub fn shipped(name: &str) -> Option<Result<Policy, PolicyError>> {
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

fn check(policy: &Policy) -> Result<(), PolicyError> {
    let spec = &policy.spec;
    one_of("kind", KIND, &policy.kind)?;
    one_of("apiVersion", API_VERSION, &policy.api_version)?;
    require(
        NodeName::parse(&policy.metadata.name).is_some(),
        "metadata.name",
        "a DNS-1123 subdomain",
        &policy.metadata.name,
    )?;
    reaction(
        "spec.requestor.others",
        spec.requestor.others,
        &[Reaction::Ignore, Reaction::Deny],
    )?;
    reaction(
        "spec.requestor.uid",
        spec.requestor.uid,
        &[Reaction::Allow, Reaction::Deny],
    )?;
    for group in &spec.requestor.groups {
        let expected = "a group that a node can be in besides `system:nodes` and \
                        `system:authenticated`, such as `system:bootstrappers`";
        let field = "spec.requestor.groups";
        require(can_be_allowed(group), field, expected, group)?;
    }
    let allow_or_wait = [Reaction::Allow, Reaction::Wait];
    reaction("spec.names.dnsOnly", spec.names.dns_only, &allow_or_wait)?;
    reaction(
        "spec.names.incomplete",
        spec.names.incomplete,
        &allow_or_wait,
    )?;
    check_durations(policy)?;
    require(
        (1..=MOST_NAMES).contains(&spec.names.max),
        "spec.names.max",
        &format!("1 to {MOST_NAMES}"),
        &spec.names.max.to_string(),
    )?;
    domains("spec.names.dnsSuffixes", &spec.names.dns_suffixes)?;
    networks("spec.names.networks", &spec.names.networks)?;
    domains(
        "spec.protected.clusterDomains",
        &spec.protected.cluster_domains,
    )?;
    domains("spec.protected.names", &spec.protected.names)?;
    networks("spec.protected.networks", &spec.protected.networks)?;
    check_machines(policy)?;
    check_sources(policy)?;
    for allowed in &spec.protected.allowed {
        let found = match (&allowed.node, allowed.nodes) {
            (Some(_), Some(_)) => "both",
            (None, None) => "neither",
            (Some(_), None) | (None, Some(_)) => "one",
        };
        let expected = "either `node` or `nodes`";
        require(found == "one", "spec.protected.allowed", expected, found)?;
        if let Some(node) = &allowed.node {
            let field = "spec.protected.allowed.node";
            require(
                node_pattern::is_well_formed(node),
                field,
                node_pattern::EXPECTED,
                node,
            )?;
        }
        for san in &allowed.sans {
            let field = "spec.protected.allowed.sans";
            let known = San::from_host_text(san).is_some();
            require(known, field, "a DNS name or an IP address", san)?;
        }
    }
    Ok(())
}

fn check_machines(policy: &Policy) -> Result<(), PolicyError> {
    let spec = &policy.spec;
    for kind in &spec.sources.machines {
        let group = DnsName::parse(kind.group.as_bytes()).is_ok() && kind.group.contains('.');
        let expected = "an API group such as `cluster.x-k8s.io`";
        require(group, "spec.sources.machines.group", expected, &kind.group)?;
        let named = kind.kind.starts_with(|c: char| c.is_ascii_uppercase());
        let expected = "a kind such as `Machine`";
        require(named, "spec.sources.machines.kind", expected, &kind.kind)?;
        let refers = kind.node_name.is_some() || kind.provider_id.is_some();
        let field = "spec.sources.machines.providerID";
        let expected = "a path, since without nodeName a Machine is found by its provider ID";
        require(refers, field, expected, "null")?;
    }
    Ok(())
}

fn check_sources(policy: &Policy) -> Result<(), PolicyError> {
    let (proof, sources) = (&policy.spec.proof, &policy.spec.sources);
    let is_there = |source: &IndependentSource| match source {
        // The inventory is configured by a flag.
        IndependentSource::Inventory => true,
        IndependentSource::Machine | IndependentSource::MachineExists => {
            !sources.machines.is_empty()
        }
        IndependentSource::Dns => sources.dns.is_some(),
        IndependentSource::ServingCertificate | IndependentSource::Renewal => {
            sources.serving_certificate.is_some()
        }
    };
    // A requirement that no source can meet would make every request wait.
    let must = |source| {
        let mut asked = [&proof.ip_addresses, &proof.node_name, &proof.dns_names].into_iter();
        let in_any = |any: &[IndependentSource]| any.contains(&source) && !any.iter().any(is_there);
        asked.any(|asked| asked.all_of.contains(&source) || in_any(&asked.any_of))
    };
    for source in IndependentSource::ALL {
        let (field, expected, found) = match source {
            IndependentSource::Inventory => continue,
            IndependentSource::Machine | IndependentSource::MachineExists => {
                ("spec.sources.machines", "a kind of Machine", "[]")
            }
            IndependentSource::Dns => ("spec.sources.dns", "how DNS is asked", "null"),
            IndependentSource::ServingCertificate | IndependentSource::Renewal => (
                "spec.sources.servingCertificate",
                "how kubelets are asked",
                "null",
            ),
        };
        let expected = format!("{expected}, since spec.proof names {source}");
        require(is_there(&source) || !must(source), field, &expected, found)?;
    }
    let can_be_first =
        |source: &IndependentSource| is_there(source) && !source.is_of_certificates();
    for (all_field, any_field, asked) in [
        (
            "spec.proof.ipAddresses.allOf",
            "spec.proof.ipAddresses.anyOf",
            &proof.ip_addresses,
        ),
        (
            "spec.proof.nodeName.allOf",
            "spec.proof.nodeName.anyOf",
            &proof.node_name,
        ),
        (
            "spec.proof.dnsNames.allOf",
            "spec.proof.dnsNames.anyOf",
            &proof.dns_names,
        ),
    ] {
        let (all, any) = (&asked.all_of, &asked.any_of);
        let expected =
            "only sources that can vouch for a first request, at which a node has no certificate";
        let is_met = !all.iter().any(|source| source.is_of_certificates());
        require(is_met, all_field, expected, &listed(all))?;
        let expected = "also a configured source that can vouch for a first request, at which a node has no \
                        certificate";
        let is_met = any.is_empty() || any.iter().any(can_be_first);
        require(is_met, any_field, expected, &listed(any))?;
    }
    let of_dns = sources.dns.as_ref().map(|dns| dns.timeout);
    let of_kubelets = sources.serving_certificate.as_ref();
    for (field, timeout, expected, most) in [
        ("spec.sources.dns.timeout", of_dns, "100ms to 10s", 10),
        (
            "spec.sources.servingCertificate.timeout",
            of_kubelets.map(|asked| asked.timeout),
            "100ms to 5s",
            5,
        ),
    ] {
        let Some(timeout) = timeout else { continue };
        let limits = SignedDuration::from_millis(100)..=SignedDuration::from_secs(most);
        require(
            limits.contains(&timeout),
            field,
            expected,
            &format!("{timeout:#}"),
        )?;
    }
    let suffixes = sources.dns.iter().flat_map(|dns| dns.suffixes.clone());
    domains("spec.sources.dns.suffixes", &suffixes.collect::<Vec<_>>())?;
    // Without them a Node that is called like any name in DNS would be vouched for.
    let without = sources
        .dns
        .as_ref()
        .is_some_and(|dns| dns.suffixes.is_empty());
    require(
        !without,
        "spec.sources.dns.suffixes",
        "the domains in which nodes have their names, such as `[nodes.example.com]`",
        "[]",
    )
}

/// The sources as a policy lists them.
fn listed(sources: &[IndependentSource]) -> String {
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    format!("[{}]", names.join(", "))
}

fn check_durations(policy: &Policy) -> Result<(), PolicyError> {
    let spec = &policy.spec;
    let minute = SignedDuration::from_mins(1);
    // The kubelet drops its key after 15 minutes. A later approval is of use only to an attacker
    // who has kept the key.
    for (field, expected, found, least, most) in [
        (
            "spec.request.maxAge",
            "1m to 15m",
            spec.request.max_age,
            minute,
            minute * 15,
        ),
        (
            "spec.request.maxExpiration",
            "10m (the API server's least) to 87600h (ten years)",
            spec.request.max_expiration,
            minute * 10,
            SignedDuration::from_hours(87_600),
        ),
        (
            "spec.proof.addressesStableFor",
            "0s to 10m",
            spec.proof.addresses_stable_for,
            SignedDuration::ZERO,
            minute * 10,
        ),
    ] {
        require(
            least <= found && found <= most,
            field,
            expected,
            &format!("{found:#}"),
        )?;
    }
    Ok(())
}

fn require(
    holds: bool,
    field: &'static str,
    expected: &str,
    found: &str,
) -> Result<(), PolicyError> {
    if holds {
        return Ok(());
    }
    Err(PolicyError::Field {
        field,
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

fn one_of(field: &'static str, expected: &str, found: &str) -> Result<(), PolicyError> {
    require(found == expected, field, &format!("`{expected}`"), found)
}

fn reaction(
    field: &'static str,
    found: Reaction,
    expected: &[Reaction],
) -> Result<(), PolicyError> {
    let names: Vec<String> = expected.iter().map(|one| format!("{one:?}")).collect();
    require(
        expected.contains(&found),
        field,
        &names.join(" or "),
        &format!("{found:?}"),
    )
}

fn domains(field: &'static str, found: &[String]) -> Result<(), PolicyError> {
    for domain in found {
        let known = DnsName::parse(domain.as_bytes()).is_ok();
        require(
            known,
            field,
            "a DNS name without a leading dot or `*`",
            domain,
        )?;
    }
    Ok(())
}

fn networks(field: &'static str, found: &[ipnet::IpNet]) -> Result<(), PolicyError> {
    for network in found {
        if let Some(ipv4) = to_ipv4_mapped(network) {
            let expected = format!("its IPv4 form `{ipv4}`");
            require(false, field, &expected, &network.to_string())?;
        }
        let expected = format!("a network without host bits, such as `{}`", network.trunc());
        let exact = *network == network.trunc();
        require(exact, field, &expected, &network.to_string())?;
    }
    Ok(())
}
