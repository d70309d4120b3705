//! Rows 57 to 64: readiness of the sources and of the requesting Node.

use jiff::{SignedDuration, Timestamp};

use super::Case;
use crate::csr::FirstSeen;
use crate::evidence::{Evidence, Instants, Node, Source};
use crate::finding::{Awaited, Code, Findings};

/// Maximum difference of clocks in a healthy cluster. A creationTimestamp that was further in the
/// future when its object was first seen was written by a wrong clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// Maximum delay of a creation event, as after a failure of the watch. A creation that the watch showed later
/// than this after its creationTimestamp was dated by a clock that is behind.
const LATE_BY: SignedDuration = SignedDuration::from_mins(15);

/// Smallest difference of plausible creationTimestamps by which a Node is younger than a request. API
/// servers' clocks differ by some seconds.
const YOUNGER_BY: SignedDuration = SignedDuration::from_secs(60);

/// The required sources that are not ready at this monotonic time, each with the reason.
pub fn unready(evidence: &Evidence, now: Timestamp) -> Vec<(Source, String)> {
    evidence.sources.unready(evidence.required_sources(), now)
}

/// Row 64: returns true if every required source is ready.
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
        let detail = format!("Node {requestor} does not exist");
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
            "expected the addresses of Node {requestor} unchanged for {stable_for:#}, found \
             them unchanged since {}",
            case.now.to_wall(since)
        );
        let mut awaits = on_node();
        awaits.push(Awaited::Time(until));
        findings.wait(Code::NodeAddressesUnstable, awaits, detail);
    }
}

/// Row 59: the reason why the Node counts as younger than the request; `None` if it existed before.
///
/// The creationTimestamps decide, except when one of them was in the future when its object was first
/// seen, or far in the past when the watch showed its creation. Then the clock of an API server was wrong. Its
/// timestamp proves nothing, and would make a Node wait for as long as the clock was wrong. In that case the
/// observed order decides.
///
/// The exception is narrow: a request of the previous Node of this name must not be approved for the
/// current one.
///
/// - Plausible timestamps decide, regardless of the watches. A watch can be late, and the order of
///   events alone is weaker than two clocks that agree.
/// - Plausible timestamps that differ by less than [`YOUNGER_BY`] may have been written by two API
///   servers. Then the Node is younger only if the observed order says so too.
/// - An order needs resourceVersions and delivery to agree ([`FirstSeen::precedes`]).
/// - Objects from the same list have no observed order. Timestamps decide there, even one in the
///   future: the Node waits, and its kubelet's next request comes from the watch.
/// - A Node is identified by its UID. A re-created Node is first seen again.
/// - A request with a timestamp in the future is older than the Node that came after it. The
///   observed order can thus make a request wait, too.
fn younger(case: &Case<'_>, node: &Node) -> Option<String> {
    let request = case.request;
    let (name, created, asked) = (&node.name, node.created, request.object.created);
    let wrong = [(created, node.first_seen), (asked, request.first_seen)]
        .into_iter()
        .find_map(|(timestamp, seen)| {
            let how = implausible(timestamp, seen, case.now)?;
            Some(format!("{timestamp} was {how}"))
        });
    if let (Some(wrong), Some(of_node), Some(of_request)) =
        (&wrong, node.first_seen, request.first_seen)
    {
        if of_node.precedes(&of_request) {
            return None;
        }
        if of_request.precedes(&of_node) {
            return Some(format!(
                "Node {name} was created after the request: the request has resourceVersion {}, the \
                 Node {}. creationTimestamps do not decide, because {wrong}",
                of_request.resource_version, of_node.resource_version
            ));
        }
    }
    let younger_by = created.duration_since(asked);
    let is_observed = || {
        let seen = request.first_seen.zip(node.first_seen);
        seen.is_some_and(|(of_request, of_node)| of_request.precedes(&of_node))
    };
    if younger_by <= SignedDuration::ZERO || younger_by < YOUNGER_BY && !is_observed() {
        return None;
    }
    let by_timestamps =
        format!("Node {name} was created at {created}, after the request at {asked}");
    Some(match wrong {
        Some(wrong) => {
            format!("{by_timestamps}; {wrong}, but the order of their creation was not observed")
        }
        None => by_timestamps,
    })
}

/// Returns how a creationTimestamp contradicts the time when its object was first seen. An object that did not
/// come from a watch counts as seen now.
fn implausible(
    created: Timestamp,
    first_seen: Option<FirstSeen>,
    now: Instants,
) -> Option<&'static str> {
    let seen = first_seen.map_or(now.wall, |first_seen| now.to_wall(first_seen.at));
    let ahead = created.duration_since(seen);
    let is_creation = first_seen.is_some_and(|first_seen| first_seen.is_creation);
    if ahead > CLOCK_TOLERANCE {
        Some("in the future")
    } else if is_creation && -ahead > LATE_BY {
        Some("long before the watch showed the creation")
    } else {
        None
    }
}
