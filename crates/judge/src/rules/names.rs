//! Rows 36, 45, 49 and 54: SANs that are refused without evidence, by their form or by the policy.

use std::net::IpAddr;

use super::Case;
use crate::csr::names::{DnsName, San};
use crate::evidence::reserved_kind;
use crate::finding::{Awaited, Code, Findings};
use crate::policy::Reaction;

/// The name of the API server's Service within its namespace. As a domain the name is ordinary.
const API_SERVER: &str = "kubernetes";
/// Domains that mean the cluster or the local machine in every cluster.
const CLUSTER_DOMAINS: [&str; 4] = [
    "svc",
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

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let sans = case.sans();
    let policy = &case.policy.spec.names;
    let asked = case.request.content.as_ref().map_or(0, |c| c.san_count);
    if asked > policy.max {
        let detail = format!("expected at most {} names, found {asked}", policy.max);
        findings.add(Code::SanTooMany, detail);
    }
    let has_ip = sans.iter().any(|san| matches!(san, San::Ip(_)));
    if !sans.is_empty() && !has_ip && policy.dns_only != Reaction::Allow {
        let detail = "expected an IP address among the names; a kubelet asks again once it has one";
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
    let of_policy = policy.protected.cluster_domains.iter().any(|d| within(d));
    let discovered = || {
        let mut domains = case.evidence.protected.cluster_domains();
        domains.any(|domain| name.is_within(domain))
    };
    let api_server = name.as_str() == API_SERVER
        || name
            .as_str()
            .strip_prefix(API_SERVER_LABELS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let service = NAMESPACES.iter().any(|n| name.as_str().ends_with(n));
    let built_in = api_server || service || CLUSTER_DOMAINS.iter().any(|d| within(d));
    if built_in || of_policy || discovered() {
        let detail = format!("DNS name {name} means the cluster or the machine itself");
        findings.add(Code::SanClusterName, detail);
    }
    let suffixes = &policy.names.dns_suffixes;
    let is_own = case
        .requestor
        .as_ref()
        .is_some_and(|node| node.as_str() == name.as_str());
    if !suffixes.is_empty() && !is_own && !suffixes.iter().any(|d| within(d)) {
        let detail = format!("DNS name {name} lies under none of the policy's dnsSuffixes");
        findings.wait(Code::SanOutsidePolicy, vec![Awaited::Policy], detail);
    }
}

fn check_ip(case: &Case<'_>, ip: IpAddr, findings: &mut Findings) {
    if let Some(what) = reserved_kind(ip) {
        findings.add(
            Code::SanReservedAddress,
            format!("IP address {ip} is {what}"),
        );
    }
    let networks = &case.policy.spec.names.networks;
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&ip)) {
        let detail = format!("IP address {ip} lies in none of the policy's networks");
        findings.wait(Code::SanOutsidePolicy, vec![Awaited::Policy], detail);
    }
}

/// Returns true if the name is this domain or a subdomain of it. The policy's domains were validated
/// on load, so a malformed domain contains nothing.
pub(super) fn is_within(name: &DnsName, domain: &str) -> bool {
    DnsName::parse(domain.as_bytes()).is_ok_and(|domain| name.is_within(&domain))
}
