//! Rows 57 to 64: whether enough is known, and of a Node that is there to stay.

use jiff::Timestamp;

use super::Case;
use crate::evidence::{Evidence, Source};
use crate::finding::{Awaited, Code, Findings};

/// The sources that cannot be relied on, each with the reason.
pub fn unready(evidence: &Evidence, now: Timestamp) -> Vec<(Source, String)> {
    evidence.sources.unready(evidence.needed(), now)
}

/// Row 64. Whether every source can be relied on.
pub(super) fn sources_ready(case: &Case<'_>, findings: &mut Findings) -> bool {
    let unready = unready(case.evidence, case.now.steady);
    for (source, why) in &unready {
        let detail = format!("source {} {why}", source.as_str());
        let awaits = vec![Awaited::Source(source.as_str())];
        findings.wait(Code::SourceUnready, awaits, detail);
    }
    unready.is_empty()
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let Some(requestor) = &case.requestor else {
        return;
    };
    let on_node = || vec![Awaited::Node(requestor.shared())];
    let Some(node) = case.node else {
        let detail = format!("there is no Node {requestor}");
        findings.wait(Code::NodeMissing, on_node(), detail);
        return;
    };
    if node.terminating {
        findings.add(
            Code::NodeTerminating,
            format!("Node {requestor} is being deleted"),
        );
    }
    let asked = case.request.object.created;
    if node.created > asked {
        let detail = format!(
            "Node {requestor} was created at {}, after the request at {asked}",
            node.created
        );
        findings.wait(Code::NodeYounger, on_node(), detail);
    }
    if !node.has_ip() {
        let detail = format!("Node {requestor} has no IP address among its addresses yet");
        findings.wait(Code::NodeAddressesMissing, on_node(), detail);
    }
    if node.uninitialized {
        let detail = format!(
            "Node {requestor} has the taint node.cloudprovider.kubernetes.io/uninitialized"
        );
        findings.wait(Code::NodeUninitialized, on_node(), detail);
    }
    let stable_for = case.policy.spec.proof.addresses_stable_for;
    if case.now.steady.duration_since(node.addresses_since) < stable_for {
        let since = node.addresses_since;
        let until = since.checked_add(stable_for).unwrap_or(since);
        let detail = format!(
            "expected the addresses of Node {requestor} unchanged for {stable_for:#}, \
             they are so since {}",
            case.now.by_wall(since)
        );
        let mut awaits = on_node();
        awaits.push(Awaited::Time(until));
        findings.wait(Code::NodeAddressesUnstable, awaits, detail);
    }
}
