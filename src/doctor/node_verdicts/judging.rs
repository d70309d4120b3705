//! Judgment of each Node's request.

use jiff::Timestamp;

use super::{
    NodeFinding, NodeVerdict, NodeVerdicts, Refused, addresses, contested, suggested_policy,
};
use crate::doctor::kubelet_request::NotSent;
use judge::csr::Request;
use judge::csr::names::San;
use judge::evidence::Evidence;
use judge::finding::{Code, Effect};
use judge::policy::{AllowOrWait, Policy};
use judge::{Decision, Judgment, judge};

/// A Node, with the request of its kubelet.
pub struct Subject {
    /// The Node's name.
    pub node: String,
    /// The request, or the reason that none is sent.
    pub request: Result<Request, NotSent>,
}

/// The policy and the time of all judgments.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its text.
    pub text: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Judges every request, and suggests the policy lines that would let more of them through.
pub fn judge_nodes(
    subjects: &[Subject],
    evidence: &mut Evidence,
    basis: Basis<'_>,
) -> NodeVerdicts {
    let Basis { policy, now, .. } = basis;
    let mut items = Vec::with_capacity(subjects.len());
    let mut refused = Vec::new();
    for subject in subjects {
        let node = evidence.nodes().get(&subject.node);
        let control_plane = node.is_some_and(|node| node.control_plane);
        let judgment = subject.request.as_ref().map(|request| {
            let judgment = judge(request, policy, evidence, now);
            if matches!(judgment.verdict.decision(), Decision::Wait | Decision::Deny) {
                refused.push(refused_request(
                    subject, request, &judgment, evidence, basis,
                ));
            }
            judgment
        });
        items.push(match judgment {
            Ok(judgment) => item(subject, control_plane, &judgment),
            Err(why) => NodeVerdict {
                not_sent: Some(why.to_string()),
                ..blank(subject, control_plane)
            },
        });
    }
    let mut contested = contested::contested(&refused, evidence);
    let addresses = addresses::addresses(evidence, policy, &refused);
    let suggestion = suggested_policy::suggest(&refused, evidence, basis);
    contested.extend(suggestion.contested);
    contested.sort_by(|one, other| one.claimed.cmp(&other.claimed));
    contested.dedup_by(|one, other| one.claimed == other.claimed);
    for item in &mut items {
        item.with_policy_lines = suggestion.verdicts.get(item.node.as_str()).copied();
    }
    items.sort_by(|one, other| order(one).cmp(&order(other)));
    NodeVerdicts {
        policy: policy.metadata.name.clone(),
        policy_digest: policy.digest.clone(),
        items,
        contested,
        policy_lines: suggestion.lines,
        suggested_policy: suggestion.text,
        virtual_addresses: addresses.virtual_ones,
        shared_addresses: addresses.shared,
        under_cluster_domain: addresses.under_cluster_domain,
        missing_evidence: Vec::new(),
    }
}

fn refused_request<'a>(
    subject: &'a Subject,
    request: &'a Request,
    judgment: &Judgment,
    evidence: &Evidence,
    basis: Basis<'_>,
) -> Refused<'a> {
    let content = request.content.as_ref();
    let sans = content.map_or(&[][..], |content| &content.sans).iter();
    Refused {
        node: &subject.node,
        request,
        codes: judgment.codes(),
        sans: sans
            .map(|san| (san.clone(), codes_of(san, request, evidence, basis)))
            .collect(),
    }
}

/// The codes of one SAN: those of the same request with no other SAN. A finding about one SAN keeps the
/// judge from looking for rivals of the others.
pub(super) fn codes_of(
    san: &San,
    request: &Request,
    evidence: &Evidence,
    basis: Basis<'_>,
) -> Vec<Code> {
    let mut alone = request.clone();
    if let Some(content) = &mut alone.content {
        content.sans = vec![san.clone()];
        content.san_count = 1;
    }
    let mut policy = basis.policy.clone();
    policy.spec.names.dns_only = AllowOrWait::Allow;
    policy.spec.names.incomplete = AllowOrWait::Allow;
    judge(&alone, &policy, evidence, basis.now).codes()
}

fn item(subject: &Subject, control_plane: bool, judgment: &Judgment) -> NodeVerdict {
    let verdict = judgment.verdict.decision().as_str();
    let mut findings: Vec<NodeFinding> = judgment
        .findings
        .iter()
        .map(|finding| NodeFinding {
            code: finding.code.as_str(),
            effect: match finding.effect {
                Effect::Wait => "Wait",
                Effect::Deny => "Deny",
                Effect::Ignore => "Ignore",
            },
            detail: finding.detail.clone(),
        })
        .collect();
    findings.sort_by_key(|finding| finding.effect != verdict);
    let content = subject.request.as_ref().ok();
    let content = content.and_then(|request| request.content.as_ref());
    let sans = content.iter().flat_map(|content| &content.sans);
    NodeVerdict {
        verdict: Some(verdict),
        sans: sans.map(San::to_string).collect(),
        findings,
        ..blank(subject, control_plane)
    }
}

fn blank(subject: &Subject, control_plane: bool) -> NodeVerdict {
    NodeVerdict {
        node: subject.node.clone(),
        control_plane,
        verdict: None,
        not_sent: None,
        sans: Vec::new(),
        findings: Vec::new(),
        with_policy_lines: None,
    }
}

/// Sort key: `Deny`, `Wait`, no request, `Ignore`, then `Approve`.
fn order(item: &NodeVerdict) -> (usize, &str) {
    let order = [
        Some(Decision::Deny),
        Some(Decision::Wait),
        None,
        Some(Decision::Ignore),
        Some(Decision::Approve),
    ];
    let place = order
        .iter()
        .position(|decision| decision.map(Decision::as_str) == item.verdict);
    (place.unwrap_or(order.len()), &item.node)
}
