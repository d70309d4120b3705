//! Rows 57 to 64: whether enough is known, and of a Node that is there to stay.

use jiff::{SignedDuration, Timestamp};

use super::Case;
use crate::csr::FirstSeen;
use crate::evidence::{Evidence, Instants, Node, Source};
use crate::finding::{Awaited, Code, Findings};

/// Clocks of a healthy cluster differ by seconds. A creationTimestamp that was further in the future
/// when its object was first seen was written by a wrong clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// The sources that cannot be relied on, each with the reason.
pub fn unready(evidence: &Evidence, now: Timestamp) -> Vec<(Source, String)> {
    evidence.sources.unready(evidence.required_sources(), now)
}

/// Row 64. Whether every source can be relied on.
pub(super) fn sources_ready(case: &Case<'_>, findings: &mut Findings) -> bool {
    let unready = unready(case.evidence, case.now.monotonic);
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
    if let Some(detail) = younger(case, node) {
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
    if case.now.monotonic.duration_since(node.addresses_since) < stable_for {
        let since = node.addresses_since;
        let until = since.checked_add(stable_for).unwrap_or(since);
        let detail = format!(
            "expected the addresses of Node {requestor} unchanged for {stable_for:#}, \
             they are so since {}",
            case.now.to_wall(since)
        );
        let mut awaits = on_node();
        awaits.push(Awaited::Time(until));
        findings.wait(Code::NodeAddressesUnstable, awaits, detail);
    }
}

/// Row 59. The reason to take the Node as created after the request; `None` if it was there before.
///
/// The creationTimestamps decide, except when one of them was in the future when the watch first
/// showed its object. An API server's clock was ahead then: its timestamp says nothing, and would
/// make a Node wait for as long as the clock was ahead. Then the order that was seen decides.
///
/// The exception is narrow on purpose. A request of the previous holder of the name must not be
/// approved for the Node that has it now:
///
/// - Timestamps that were plausible decide, whatever the watches showed. A watch can be late, and
///   the order of events alone is weaker than two clocks that agree.
/// - An order needs two witnesses, resourceVersions and delivery ([`FirstSeen::precedes`]).
/// - No order is seen between what a list shows. Timestamps decide there, also one in the future:
///   the Node waits, and its kubelet's next request comes by the watch.
/// - A Node is known by its UID. One that was re-created is first seen again.
/// - A request whose own timestamp was in the future is older than the Node that came after it, so
///   the order can make a request wait too.
fn younger(case: &Case<'_>, node: &Node) -> Option<String> {
    let request = case.request;
    let (name, created, asked) = (&node.name, node.created, request.object.created);
    let wrong = [(created, node.first_seen), (asked, request.first_seen)]
        .into_iter()
        .find(|(timestamp, seen)| was_future(*timestamp, *seen, case.now));
    if let (Some((timestamp, _)), Some(of_node), Some(of_request)) =
        (wrong, node.first_seen, request.first_seen)
    {
        if of_node.precedes(&of_request) {
            return None;
        }
        if of_request.precedes(&of_node) {
            return Some(format!(
                "Node {name} was created after the request: the request has resourceVersion {}, the \
                 Node {}. creationTimestamps do not decide, because {timestamp} was in the future",
                of_request.resource_version, of_node.resource_version
            ));
        }
    }
    if created <= asked {
        return None;
    }
    let by_timestamps =
        format!("Node {name} was created at {created}, after the request at {asked}");
    Some(match wrong {
        Some((timestamp, _)) => format!(
            "{by_timestamps}; {timestamp} was in the future, but the order of their creation was \
             not seen here"
        ),
        None => by_timestamps,
    })
}

/// Whether an object was dated later than it was first seen. One that no watch has shown is seen
/// now.
fn was_future(created: Timestamp, first_seen: Option<FirstSeen>, now: Instants) -> bool {
    let seen = first_seen.map_or(now.wall, |first_seen| now.to_wall(first_seen.at));
    created.duration_since(seen) > CLOCK_TOLERANCE
}
