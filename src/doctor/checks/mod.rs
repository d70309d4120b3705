//! Checks: pure functions from the facts to findings.

mod api_server;
mod approval_rights;
mod distribution;
mod kubelet_certificates;
mod kubelet_configuration;
mod metrics_server;
mod node_restriction;
mod nodes;
mod other_approvers;
mod signer;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;
mod version_and_clock;
mod warden;

use jiff::SignedDuration;

use super::facts::{Facts, ReadFailure};
use super::finding_code::{Code, Severity};
use super::node_verdicts::NodeVerdicts;
use super::report::{Finding, Report};
use crate::telemetry::printable::shell_word;

/// Runs all checks.
pub(super) fn report(facts: &Facts, verdicts: Result<NodeVerdicts, String>) -> Report {
    let checks = vec![
        version_and_clock::version(facts),
        distribution::distribution(facts),
        version_and_clock::clock(facts),
        kubelet_configuration::kubelet_configuration(facts),
        kubelet_certificates::kubelet_certificates(facts),
        signer::signer(facts),
        signer::requests(facts),
        nodes::nodes(verdicts.as_ref()),
        nodes::addresses(verdicts.as_ref()),
        warden::warden(facts),
        other_approvers::other_approvers(facts),
        approval_rights::approval_rights(facts),
        node_restriction::node_restriction(facts),
        api_server::api_server(facts),
        metrics_server::metrics_server(facts),
    ];
    let worst = checks.iter().map(|checked| checked.severity).max();
    Report {
        server: facts.server.clone(),
        version: facts.version.clone().ok(),
        nodes: facts.nodes.as_ref().ok().map(Vec::len),
        kubelets: facts.kubelets.len(),
        severity: worst.unwrap_or(Severity::Ok),
        checks,
        node_verdicts: verdicts.ok(),
    }
}

/// The finding for a fact that could not be read; `so` names what is unknown.
fn not_known(failure: &ReadFailure, so: &str) -> Finding {
    let ReadFailure {
        verb,
        resource,
        namespace,
        name,
        forbidden,
        why,
    } = failure;
    if !forbidden {
        let name = name
            .as_deref()
            .map_or_else(String::new, |name| format!(" {name}"));
        let place = namespace.as_deref();
        let place_text = place.map_or_else(String::new, |name| format!(" in namespace {name}"));
        let read = format!("{verb} {resource}{name}{place_text}");
        let summary = format!("cannot determine {so}: cannot {read}: {why}");
        let again = read_again(resource, &name, place);
        return Finding::new(Code::ReadFailed, summary)
            .fix(format!("# the API server's own answer\n{again}"))
            .fix("# if it is only slow\ncsr-warden doctor --timeout 60");
    }
    let what = format!("cannot determine {so}: the right to {verb} {resource} is missing");
    let short = resource.split('.').next().unwrap_or(resource);
    let role = format!("doctor-{verb}-{}", short.trim_start_matches('/'));
    let on = if resource.starts_with('/') {
        format!("--non-resource-url={resource}")
    } else {
        format!("--resource={resource}")
    };
    Finding::new(Code::RightMissing, what)
        .fix("# as an administrator, with your user's name for NAME")
        .fix(format!(
            "kubectl create clusterrole {role} \\\n  --verb={verb} {on}"
        ))
        .fix(format!(
            "kubectl create clusterrolebinding {role} \\\n  --clusterrole={role} --user=NAME"
        ))
}

/// The command that reads the same.
fn read_again(resource: &str, name: &str, namespace: Option<&str>) -> String {
    if resource.starts_with('/') {
        return format!("kubectl get --raw {resource}");
    }
    // kubectl ignores the flag for what has no namespace.
    let place = namespace.map_or_else(
        || "--all-namespaces".to_owned(),
        |name| format!("--namespace {}", shell_word(name)),
    );
    format!("kubectl get {resource}{name} {place}")
}

/// A number with its noun and verb, such as `1 kubelet shows` and `2 kubelets show`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A duration such as `12 s`, `3 min`, `5 h`, `40 d`.
fn format_age(age: SignedDuration) -> String {
    let seconds = age.as_secs();
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}
