//! Validation of policies: values that a field must not have, and fields that contradict each other.
//!
//! A path names an entry of a list with its index, as in `spec.protected.allowed[1].sans[0]`.

use ipnet::IpNet;
use jiff::SignedDuration;

use super::groups::can_be_allowed;
use super::{Corroboration, IndependentSource, KIND, MOST_NAMES, Policy, ProtectedPolicy, Spec};
use crate::api_version::API_VERSION;
use crate::csr::names::{DnsName, NodeName, San};
use crate::evidence::to_ipv4_mapped;
use crate::node_pattern;
use crate::yaml::{FieldError, quoted};

/// Validates a policy of the expected shape. The error has no location yet.
pub(super) fn validate(policy: &Policy) -> Result<(), FieldError> {
    let spec = &policy.spec;
    is_word("kind", KIND, &policy.kind)?;
    is_word("apiVersion", API_VERSION, &policy.api_version)?;
    require(
        NodeName::parse(&policy.metadata.name).is_some(),
        "metadata.name",
        "a DNS-1123 subdomain",
        &quoted(&policy.metadata.name),
    )?;
    requestor(spec)?;
    durations(spec)?;
    names(spec)?;
    protected(&spec.protected)?;
    machines(spec)?;
    required_sources(spec)?;
    first_requests(spec)?;
    timeouts(spec)?;
    dns_suffixes(spec)
}

fn requestor(spec: &Spec) -> Result<(), FieldError> {
    let groups = &spec.requestor.groups;
    each("spec.requestor.groups", groups, |path, group| {
        let expected = "a group that a node can be in besides `system:nodes` and \
                        `system:authenticated`, such as `system:bootstrappers`";
        require(can_be_allowed(group), path, expected, &quoted(group))
    })
}

fn durations(spec: &Spec) -> Result<(), FieldError> {
    let minute = SignedDuration::from_mins(1);
    // The kubelet drops its key after 15 minutes. A later approval is of use only to an attacker
    // who has kept the key.
    for (path, expected, found, least, most) in [
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
        let is_met = least <= found && found <= most;
        require(is_met, path, expected, &quoted(format!("{found:#}")))?;
    }
    Ok(())
}

fn names(spec: &Spec) -> Result<(), FieldError> {
    let names = &spec.names;
    let is_met = (1..=MOST_NAMES).contains(&names.max);
    let expected = format!("1 to {MOST_NAMES}");
    require(is_met, "spec.names.max", &expected, &quoted(names.max))?;
    domains("spec.names.dnsSuffixes", &names.dns_suffixes)?;
    networks("spec.names.networks", &names.networks)
}

fn protected(protected: &ProtectedPolicy) -> Result<(), FieldError> {
    domains("spec.protected.clusterDomains", &protected.cluster_domains)?;
    domains("spec.protected.names", &protected.names)?;
    networks("spec.protected.networks", &protected.networks)?;
    networks(
        "spec.protected.serviceNetworks",
        &protected.service_networks,
    )?;
    each(
        "spec.protected.allowed",
        &protected.allowed,
        |path, entry| {
            let is_one = entry.node.is_some() != entry.nodes.is_some();
            let found = if entry.node.is_some() {
                "both"
            } else {
                "neither"
            };
            require(is_one, path, "either `node` or `nodes`", found)?;
            if let Some(node) = &entry.node {
                let is_met = node_pattern::is_well_formed(node);
                let path = &format!("{path}.node");
                require(is_met, path, node_pattern::EXPECTED, &quoted(node))?;
            }
            each(&format!("{path}.sans"), &entry.sans, |path, san| {
                let is_met = San::from_host_text(san).is_some();
                require(is_met, path, "a DNS name or an IP address", &quoted(san))
            })
        },
    )
}

fn machines(spec: &Spec) -> Result<(), FieldError> {
    each(
        "spec.sources.machines",
        &spec.sources.machines,
        |path, kind| {
            let is_group =
                DnsName::parse(kind.group.as_bytes()).is_ok() && kind.group.contains('.');
            let expected = "an API group such as `cluster.x-k8s.io`";
            let of_group = &format!("{path}.group");
            require(is_group, of_group, expected, &quoted(&kind.group))?;
            let is_kind = kind.kind.starts_with(|c: char| c.is_ascii_uppercase());
            let expected = "a kind such as `Machine`";
            let of_kind = &format!("{path}.kind");
            require(is_kind, of_kind, expected, &quoted(&kind.kind))?;
            let refers = kind.node_name.is_some() || kind.provider_id.is_some();
            let expected = "a field `providerID`, since without `nodeName` a Machine is found by its provider ID";
            require(refers, path, expected, "none")
        },
    )
}

/// The sources that vouch for each kind of name, with their paths.
fn proof(spec: &Spec) -> [(&'static str, &Corroboration); 3] {
    let proof = &spec.proof;
    [
        ("spec.proof.ipAddresses", &proof.ip_addresses),
        ("spec.proof.nodeName", &proof.node_name),
        ("spec.proof.dnsNames", &proof.dns_names),
    ]
}

/// Returns true if the source is configured.
fn is_configured(spec: &Spec, source: IndependentSource) -> bool {
    let sources = &spec.sources;
    match source {
        // The inventory is configured by a flag.
        IndependentSource::Inventory => true,
        IndependentSource::Machine | IndependentSource::MachineExists => {
            !sources.machines.is_empty()
        }
        IndependentSource::Dns => sources.dns.is_some(),
        IndependentSource::ServingCertificate | IndependentSource::Renewal => {
            sources.serving_certificate.is_some()
        }
    }
}

/// Rejects a requirement that no source can meet, which would make every request wait.
fn required_sources(spec: &Spec) -> Result<(), FieldError> {
    let is_there = |source: &IndependentSource| is_configured(spec, *source);
    let must = |source| {
        let in_any = |any: &[IndependentSource]| any.contains(&source) && !any.iter().any(is_there);
        proof(spec)
            .iter()
            .any(|(_, asked)| asked.all_of.contains(&source) || in_any(&asked.any_of))
    };
    for source in IndependentSource::ALL {
        let (path, expected) = match source {
            IndependentSource::Inventory => continue,
            IndependentSource::Machine | IndependentSource::MachineExists => {
                ("spec.sources.machines", "a kind of Machine")
            }
            IndependentSource::Dns => ("spec.sources.dns", "the settings of DNS"),
            IndependentSource::ServingCertificate | IndependentSource::Renewal => (
                "spec.sources.servingCertificate",
                "the settings of kubelets' ports",
            ),
        };
        let expected = format!("{expected}, since spec.proof names {source}");
        require(is_there(&source) || !must(source), path, &expected, "none")?;
    }
    Ok(())
}

/// Rejects a requirement that only a node with a certificate can meet.
fn first_requests(spec: &Spec) -> Result<(), FieldError> {
    let can_be_first =
        |source: &IndependentSource| is_configured(spec, *source) && !source.is_of_certificates();
    for (path, asked) in proof(spec) {
        let (all, any) = (&asked.all_of, &asked.any_of);
        let expected =
            "only sources that can vouch for a first request, when a node has no certificate yet";
        let is_met = !all.iter().any(|source| source.is_of_certificates());
        require(is_met, &format!("{path}.allOf"), expected, &listed(all))?;
        let expected = "also a configured source that can vouch for a first request, when a node has no \
                        certificate yet";
        let is_met = any.is_empty() || any.iter().any(can_be_first);
        require(is_met, &format!("{path}.anyOf"), expected, &listed(any))?;
    }
    Ok(())
}

fn timeouts(spec: &Spec) -> Result<(), FieldError> {
    let sources = &spec.sources;
    let of_kubelets = sources.serving_certificate.as_ref();
    for (path, timeout, expected, most) in [
        (
            "spec.sources.dns.timeout",
            sources.dns.as_ref().map(|dns| dns.timeout),
            "100ms to 10s",
            10,
        ),
        (
            "spec.sources.servingCertificate.timeout",
            of_kubelets.map(|asked| asked.timeout),
            "100ms to 5s",
            5,
        ),
    ] {
        let Some(timeout) = timeout else { continue };
        let limits = SignedDuration::from_millis(100)..=SignedDuration::from_secs(most);
        let is_met = limits.contains(&timeout);
        require(is_met, path, expected, &quoted(format!("{timeout:#}")))?;
    }
    Ok(())
}

fn dns_suffixes(spec: &Spec) -> Result<(), FieldError> {
    let Some(dns) = &spec.sources.dns else {
        return Ok(());
    };
    let path = "spec.sources.dns.suffixes";
    domains(path, &dns.suffixes)?;
    // Without them a Node that is called like any name in DNS would be vouched for.
    let expected = "the domains in which nodes have their names, such as `[nodes.example.com]`";
    require(!dns.suffixes.is_empty(), path, expected, "none")
}

/// The sources as a policy lists them.
fn listed(sources: &[IndependentSource]) -> String {
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    quoted(format!("[{}]", names.join(", ")))
}

/// Validates each entry of a list by its path.
fn each<T>(
    path: &str,
    entries: &[T],
    validate: impl Fn(&str, &T) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    let mut entries = entries.iter().enumerate();
    entries.try_for_each(|(index, entry)| validate(&format!("{path}[{index}]"), entry))
}

fn require(is_met: bool, path: &str, expected: &str, found: &str) -> Result<(), FieldError> {
    if is_met {
        return Ok(());
    }
    Err(FieldError::new(path, expected, found))
}

fn is_word(path: &str, expected: &str, found: &str) -> Result<(), FieldError> {
    require(found == expected, path, &quoted(expected), &quoted(found))
}

fn domains(path: &str, found: &[String]) -> Result<(), FieldError> {
    each(path, found, |path, domain| {
        let is_met = DnsName::parse(domain.as_bytes()).is_ok();
        let expected = "a DNS name without a leading dot or `*`";
        require(is_met, path, expected, &quoted(domain))
    })
}

/// Validates networks, which have no host bits and are not IPv4 in the form of IPv6.
pub(crate) fn networks(path: &str, found: &[IpNet]) -> Result<(), FieldError> {
    each(path, found, |path, network| {
        if let Some(ipv4) = to_ipv4_mapped(network) {
            let expected = format!("its IPv4 form `{ipv4}`");
            return Err(FieldError::new(path, &expected, &quoted(network)));
        }
        let expected = format!("a network without host bits, such as `{}`", network.trunc());
        let is_met = *network == network.trunc();
        require(is_met, path, &expected, &quoted(network))
    })
}
