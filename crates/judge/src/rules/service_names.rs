//! Row 71: DNS names that the search path of pods completes to the name of a Service.

use super::ownership::first_label;
use super::{Case, protected_sans};
use crate::csr::names::{DnsName, San};
use crate::finding::{Awaited, Code, Findings};
use crate::policy::ServiceLike;

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for san in case.sans() {
        check_san(case, san, findings);
    }
}

/// Checks one SAN, which need not be among those of the request.
pub(super) fn check_san(case: &Case<'_>, san: &San, findings: &mut Findings) {
    let reaction = case.policy.spec.names.service_like;
    let Some(requestor) = &case.requestor else {
        return;
    };
    let San::Dns(name) = san else {
        return;
    };
    let is_allowed = reaction == ServiceLike::Allow || protected_sans::is_allowed(case, san);
    if is_allowed || name.as_str() == requestor.as_str() {
        return;
    }
    let labels: Vec<&str> = name.as_str().split('.').collect();
    let meant = match labels.as_slice() {
        [label] if *label == first_label(requestor.as_str()) => None,
        [label] => Some(format!("Service {label} of their own Namespace")),
        [service, namespace] if has_namespace(case, namespace) => {
            Some(format!("Service {service} of Namespace {namespace}"))
        }
        [.., service, namespace]
            if reaction == ServiceLike::WaitAlways && has_namespace(case, namespace) =>
        {
            Some(format!(
                "a pod of Service {service} of Namespace {namespace}"
            ))
        }
        _ => None,
    };
    if let Some(meant) = meant {
        let detail = looks_like(name, &meant);
        findings.wait(Code::SanLooksLikeService, vec![Awaited::Policy], detail);
    }
}

fn has_namespace(case: &Case<'_>, name: &str) -> bool {
    case.evidence.namespaces.contains(name)
}

fn looks_like(name: &DnsName, meant: &str) -> String {
    format!(
        "pods can resolve DNS name {name} to {meant}; the policy's protected.allowed allows it to one node, \
         names.serviceLike to every node"
    )
}
