//! Remedy of a finding, as a sentence for a person.

use jiff::Timestamp;

use judge::evidence::Claimed;
use judge::finding::{Awaited, Code, Effect, Finding};

/// Maximum number of conditions named in one sentence.
const MOST: usize = 4;
/// The runbook on contested names.
const CONTESTED: &str = "docs/runbooks.md#csrwardencontested";
/// Denials that the policy could avoid for the next request, each with the field.
const BY_POLICY: [(Code, &str); 8] = [
    (Code::GroupsExtra, "requestor.groups"),
    (Code::CredentialIdMissing, "requestor.credentialId"),
    (Code::RequestorUidSet, "requestor.uid"),
    (Code::ExpirationTooLong, "request.maxExpiration"),
    (Code::SanProtected, "protected.allowed"),
    (Code::SanApiServerEndpoint, "protected.allowed"),
    (Code::SanApiServerIdentity, "protected.allowed"),
    (Code::SanTooMany, "names.max"),
];

/// Remedy of a finding, for a command: it has seen no order of claims.
pub fn remedy_without_order(finding: &Finding, now: Timestamp) -> String {
    let mut remedy = remedy(finding, now);
    if finding.effect == Effect::Wait && is_contested(finding.code) && remedy.contains(CONTESTED) {
        remedy.push_str(
            " A running csr-warden that observed the order names the owner in an Event of the Node (kubectl get \
             events).",
        );
    }
    remedy
}

/// Remedy of a finding, as a sentence.
pub fn remedy(finding: &Finding, now: Timestamp) -> String {
    match finding.effect {
        Effect::Ignore => ignored(finding.code).to_owned(),
        Effect::Deny => match field(finding) {
            Some(field) => format!(
                "The policy's {field} could allow the kubelet's next request; this one is denied."
            ),
            None => "Nothing can change this: the kubelet must send another request.".to_owned(),
        },
        Effect::Wait => waits(finding, now),
    }
}

/// The field of the policy that could avoid a denial.
fn field(finding: &Finding) -> Option<&'static str> {
    let (code, field) = BY_POLICY.iter().find(|(code, _)| *code == finding.code)?;
    // No policy allows groups of administrators and ServiceAccounts, and the finding about one names no field.
    let is_allowable = *code != Code::GroupsExtra || finding.detail.contains(field);
    is_allowable.then_some(field)
}

fn ignored(code: Code) -> &'static str {
    if code == Code::RequestSettled {
        "Nothing changes this: a decision is final."
    } else if code == Code::RequestStale {
        "Nothing changes this: the kubelet has sent another request by now."
    } else if code == Code::RequestTerminating || code == Code::NodeTerminating {
        "Nothing changes this: it is being deleted."
    } else if code == Code::RequestorNotNode {
        "Nothing changes this: an administrator has to decide on it."
    } else {
        "Nothing changes this: it is for others to decide on."
    }
}

fn waits(finding: &Finding, now: Timestamp) -> String {
    let nodes: Vec<&str> = finding.awaits.iter().filter_map(node).collect();
    let by_policy = finding.awaits.contains(&Awaited::Policy);
    let specific = match nodes.as_slice() {
        // The Node has it beyond names.max.
        [_] if finding.code == Code::SanNotOfNode && by_policy => None,
        [name] => of_node(finding.code, name),
        _ => None,
    };
    if let Some(sentence) = specific {
        return sentence;
    }
    if is_contested(finding.code) {
        return contested(finding, now);
    }
    let reasons = match finding.awaits.as_slice() {
        [Awaited::Policy] if finding.code == Code::SanUncorroborated => {
            "the source is configured, or another policy is in force".to_owned()
        }
        [Awaited::Source(source)] if finding.code == Code::SanUncorroborated => {
            format!("source {source} vouches for it")
        }
        awaits => reasons(awaits, now).join(", or "),
    };
    format!("Changes when {reasons}.")
}

fn is_contested(code: Code) -> bool {
    code.is_contested() || code == Code::SanLikeAnotherNode
}

/// Remedy of a name or address that others claim. It names no Node to delete: which one lies is unknown.
fn contested(finding: &Finding, now: Timestamp) -> String {
    let reasons: Vec<String> = finding
        .awaits
        .iter()
        .map(|awaited| match awaited {
            Awaited::Source(_) => "the inventory gives it to this node alone".to_owned(),
            Awaited::Machine(key) => format!("{key} changes"),
            Awaited::Node(name) => format!("Node {name} no longer has the name"),
            Awaited::Time(time) => {
                let seconds = time.duration_since(now).as_secs().max(1);
                format!("a kubelet shows a certificate (asked again in {seconds} s)")
            }
            Awaited::Claim(_)
            | Awaited::Answer(_)
            | Awaited::ProtectedIdentities
            | Awaited::Policy => reasons_of(awaited, now),
        })
        .take(MOST)
        .collect();
    format!(
        "Changes when {}. {CONTESTED} says how to find out whose it is.",
        reasons.join(", or ")
    )
}

/// Remedy on the Node, for findings that have one.
fn of_node(code: Code, node: &str) -> Option<String> {
    let sentence = if code == Code::NodeMissing {
        format!("Changes when Node {node} exists.")
    } else if code == Code::SanNotOfNode {
        format!("Changes when Node {node} gets it among its addresses.")
    } else if code == Code::NodeAddressesMissing {
        format!("Changes when Node {node} gets an IP address.")
    } else if code == Code::NodeUninitialized {
        format!("Changes when the cloud provider takes the taint off Node {node}.")
    } else if code == Code::NodeYounger {
        format!("Nothing changes this: the kubelet of the new Node {node} sends another request.")
    } else if code == Code::SanIncomplete {
        format!("Changes when Node {node} loses it; else the kubelet has to request it too.")
    } else if matches!(
        code,
        Code::SanApiServerEndpointUnowned | Code::SanApiServerIdentityUnowned
    ) {
        format!(
            "Changes when Node {node} gets the label node-role.kubernetes.io/control-plane, or when the policy's \
             protected.allowed lists it for Node {node}."
        )
    } else {
        return None;
    };
    Some(sentence)
}

fn node(awaited: &Awaited) -> Option<&str> {
    match awaited {
        Awaited::Node(name) => Some(name),
        Awaited::Claim(_)
        | Awaited::Machine(_)
        | Awaited::Answer(_)
        | Awaited::Source(_)
        | Awaited::Time(_)
        | Awaited::ProtectedIdentities
        | Awaited::Policy => None,
    }
}

/// Awaited changes, in a few words each.
fn reasons(awaits: &[Awaited], now: Timestamp) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for awaited in awaits {
        let reason = reasons_of(awaited, now);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() {
        reasons.push("its Node or the policy changes".to_owned());
    }
    reasons.truncate(MOST);
    reasons
}

/// One awaited change, in a few words.
fn reasons_of(awaited: &Awaited, now: Timestamp) -> String {
    match awaited {
        Awaited::Node(name) => format!("Node {name} changes"),
        Awaited::Claim(Claimed::San(san)) => format!("a claim on {san} ends"),
        Awaited::Claim(Claimed::PodNetwork(network)) => {
            format!("no Node has the pod network {network} anymore")
        }
        Awaited::Claim(Claimed::ProviderId(id)) => format!("a claim on provider ID {id} ends"),
        Awaited::Machine(key) => format!("the Machine of {key} appears or changes"),
        Awaited::Answer(question) => format!("{question} can be answered"),
        Awaited::Source(source) => format!("source {source} can be read"),
        Awaited::Time(time) => {
            let seconds = time.duration_since(now).as_secs();
            format!("{} s have passed", seconds.max(1))
        }
        Awaited::ProtectedIdentities => {
            "the API servers' endpoints or certificates change".to_owned()
        }
        Awaited::Policy => "another policy is in force".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_names_the_field_of_the_policy_if_that_can_allow_it() {
        for (unless, expected) in [
            (
                ", unless requestor.groups of the policy lists it",
                "The policy's requestor.groups could allow the kubelet's next request; this one is denied.",
            ),
            (
                "",
                "Nothing can change this: the kubelet must send another request.",
            ),
        ] {
            let finding = Finding {
                code: Code::GroupsExtra,
                effect: Effect::Deny,
                detail: format!("expected no group `a`{unless}"),
                awaits: Vec::new(),
            };
            assert_eq!(remedy(&finding, Timestamp::UNIX_EPOCH), expected);
        }
    }

    #[test]
    fn a_contested_name_points_to_the_event_of_a_daemon_that_has_seen_the_order() {
        let finding = Finding {
            code: Code::SanContested,
            effect: Effect::Wait,
            detail: String::new(),
            awaits: vec![Awaited::Source("inventory")],
        };
        let remedy = remedy_without_order(&finding, Timestamp::UNIX_EPOCH);
        assert!(remedy.contains("names the owner in an Event"), "{remedy}");
        assert!(
            remedy.contains("runbooks.md#csrwardencontested"),
            "{remedy}"
        );
    }
}
