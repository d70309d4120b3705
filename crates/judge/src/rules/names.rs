//! Rows 36, 45, 49, 54, 73 and 74: SANs that are refused without evidence, by their form or by the policy.

use std::net::{IpAddr, Ipv4Addr};

use super::Case;
use super::ownership::first_label;
use crate::csr::names::{DnsName, San};
use crate::evidence::reserved_kind;
use crate::finding::{Awaited, Code, Findings};
use crate::policy::{AllowOrWait, MOST_NAMES};

/// The name of the API server's Service within its namespace. As a domain the name is ordinary.
const API_SERVER: &str = "kubernetes";
/// Domains that mean the cluster or the local machine in every cluster.
const CLUSTER_DOMAINS: [&str; 5] = [
    "svc",
    "pod",
    "localhost",
    "localhost.localdomain",
    "metadata.google.internal",
];
/// Suffixes of the namespaces of every cluster. A Service is also reached as `name.namespace`.
const NAMESPACES: [&str; 4] = [
    ".default",
    ".kube-node-lease",
    ".kube-public",
    ".kube-system",
];
/// The labels of the API server's Service. A search path can resolve every name that begins with them
/// to the API server.
const API_SERVER_LABELS: &str = "kubernetes.default";

/// Names of the machine itself in `/etc/hosts` of distributions and container engines.
const LOCAL_NAMES: [&str; 15] = [
    "localhost4",
    "localhost6",
    "localhost4.localdomain4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "broadcasthost",
    "host.docker.internal",
    "gateway.docker.internal",
    "host.containers.internal",
];
/// Names of the metadata services of clouds.
const METADATA_NAMES: [&str; 4] = [
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
];

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let sans = case.sans();
    let policy = &case.policy.spec.names;
    let asked = case.request.content.as_ref().map_or(0, |c| c.san_count);
    if asked > policy.max {
        let detail = format!(
            "expected at most {} names, found {asked}; the policy's names.max, which is at most \
             {MOST_NAMES}, sets the limit",
            policy.max
        );
        findings.add(Code::SanTooMany, detail);
    }
    let has_ip = sans.iter().any(|san| matches!(san, San::Ip(_)));
    if !sans.is_empty() && !has_ip && policy.dns_only != AllowOrWait::Allow {
        let detail =
            "expected an IP address among the SANs; a kubelet sends a new request once it has one";
        findings.wait(Code::SanWithoutIp, vec![Awaited::Policy], detail);
    }
    for san in sans {
        match san {
            San::Dns(name) => check_dns(case, name, findings),
            San::Ip(ip) => check_ip(case, *ip, findings),
        }
    }
}

fn check_dns(case: &Case<'_>, name: &DnsName, findings: &mut Findings) {
    let policy = &case.policy.spec;
    let within = |domain: &str| is_within(name, domain);
    if means_the_cluster(name) {
        let detail = format!(
            "DNS name {name} means the API server, a Service of a Namespace of every cluster, or the machine \
             itself, so no policy lets a node have it"
        );
        findings.add(Code::SanClusterName, detail);
    } else if let Some((domain, origin)) = cluster_domain(case, name) {
        let detail = format!(
            "DNS name {name} is under {domain}, the domain of the cluster's Services ({origin}), where a \
             node may have its own name alone, and none under svc.{domain} or pod.{domain}"
        );
        findings.add(Code::SanClusterName, detail);
    }
    if let Some(what) = local_meaning(case, name) {
        findings.add(Code::SanLocalName, format!("DNS name {name} means {what}"));
    }
    let suffixes = &policy.names.dns_suffixes;
    if !suffixes.is_empty() && !is_own_name(case, name) && !suffixes.iter().any(|d| within(d)) {
        let detail = format!("DNS name {name} is not under any of the policy's dnsSuffixes");
        findings.wait(Code::SanOutsidePolicy, vec![Awaited::Policy], detail);
    }
}

/// Returns true for a name that no node of this cluster can have, by its form.
pub(super) fn is_of_the_cluster(case: &Case<'_>, name: &DnsName) -> bool {
    means_the_cluster(name) || cluster_domain(case, name).is_some()
}

fn is_own_name(case: &Case<'_>, name: &DnsName) -> bool {
    let requestor = case.requestor.as_ref();
    requestor.is_some_and(|node| node.as_str() == name.as_str())
}

/// Returns true for a name that means the API server, a Service or the machine itself in every cluster.
fn means_the_cluster(name: &DnsName) -> bool {
    let api_server = name.as_str() == API_SERVER
        || name
            .as_str()
            .strip_prefix(API_SERVER_LABELS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let service = NAMESPACES.iter().any(|n| name.as_str().ends_with(n));
    api_server || service || CLUSTER_DOMAINS.iter().any(|domain| is_within(name, domain))
}

/// The domain of the cluster's Services that reserves this name, and its origin. Nodes can be named under
/// it. Certificates with a cut name must not reserve a whole top-level domain.
fn cluster_domain(case: &Case<'_>, name: &DnsName) -> Option<(String, String)> {
    let is_own = is_own_name(case, name);
    let of_policy = &case.policy.spec.protected.cluster_domains;
    let of_policy = of_policy.iter().map(|domain| {
        (
            domain.as_str(),
            "the policy's protected.clusterDomains",
            true,
        )
    });
    let learned = case.evidence.protected.cluster_domains();
    let learned =
        learned.map(|(domain, origin)| (domain.as_str(), origin, domain.as_str().contains('.')));
    let mut domains = of_policy.chain(learned);
    let (domain, origin, _) = domains.find(|(domain, _, is_whole)| {
        let of_pods = ["svc", "pod"].map(|first| format!("{first}.{domain}"));
        let is_of_pods = of_pods.iter().any(|domain| is_within(name, domain));
        let parsed = DnsName::parse(domain.as_bytes());
        let is_domain = parsed.is_ok_and(|domain| domain.as_str() == name.as_str());
        is_of_pods || (*is_whole && is_within(name, domain) && (!is_own || is_domain))
    })?;
    Some((domain.to_owned(), origin.to_owned()))
}

/// Row 73: what a name means on every machine; `None` for a name that a node can have.
fn local_meaning(case: &Case<'_>, name: &DnsName) -> Option<String> {
    if LOCAL_NAMES.iter().any(|local| is_within(name, local)) {
        return Some("the machine itself, everywhere".to_owned());
    }
    if METADATA_NAMES
        .iter()
        .any(|metadata| is_within(name, metadata))
    {
        return Some("a cloud's metadata service".to_owned());
    }
    let ip = read_as_address(name.as_str())?;
    let is_own = case.requestor.as_ref().is_some_and(|node| {
        node.as_str() == name.as_str() || first_label(node.as_str()) == name.as_str()
    });
    // Machines are named by numbers, and a small number is an address of no host.
    let is_ordinary = ip.octets().first() == Some(&0) || reserved_kind(ip.into()).is_none();
    (!is_own || !is_ordinary).then(|| format!("the address {ip}, to resolvers"))
}

/// The address that resolvers read a single number as (`inet_aton`).
fn read_as_address(name: &str) -> Option<Ipv4Addr> {
    let number = if let Some(digits) = name.strip_prefix("0x") {
        u32::from_str_radix(digits, 16)
    } else if name.starts_with('0') {
        u32::from_str_radix(name, 8)
    } else {
        name.parse()
    };
    number.ok().map(Ipv4Addr::from)
}

fn check_ip(case: &Case<'_>, ip: IpAddr, findings: &mut Findings) {
    if let Some(what) = reserved_kind(ip) {
        let detail = format!("{} is reserved: {what}", San::Ip(ip));
        findings.add(Code::SanReservedAddress, detail);
    }
    let networks = &case.policy.spec.names.networks;
    let is_named = networks.iter().any(|network| network.contains(&ip));
    if is_of_class_e(ip) && !is_named {
        let detail = format!(
            "{} is in 240.0.0.0/4, which no node may use unless the policy's names.networks name it, with all \
             other networks of the nodes",
            San::Ip(ip)
        );
        findings.add(Code::SanReservedAddress, detail);
    }
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&ip)) {
        let detail = format!("IP address {ip} is not in any of the policy's networks");
        findings.wait(Code::SanOutsidePolicy, vec![Awaited::Policy], detail);
    }
}

/// Returns true for 240.0.0.0/4 (RFC 1112, 4), which some networks use although it is reserved. The
/// broadcast address is reserved everywhere.
fn is_of_class_e(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.octets().first().is_some_and(|first| *first >= 240) && !v4.is_broadcast())
}

/// Returns true if the name is this domain or a subdomain of it. The policy's domains were validated
/// on load, so a malformed domain contains nothing.
pub(super) fn is_within(name: &DnsName, domain: &str) -> bool {
    DnsName::parse(domain.as_bytes()).is_ok_and(|domain| name.is_within(&domain))
}
