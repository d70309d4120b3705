//! The verdict that follows from the findings. Only this module can make an [`Approval`] or a
//! [`Denial`], and only these can be written to the API server.

use std::fmt;
use std::sync::Arc;

use crate::csr::{Content, Request};
use crate::evidence::{Evidence, Instants};
use crate::finding::{Awaited, Code, Effect, Findings};
use crate::policy::Policy;
use crate::rules::{self, Case, SanProof};

/// The first words of every condition's message.
pub const MESSAGE_PREFIX: &str = "csr-warden, policy ";
/// Maximum length of a condition's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;
/// The reason of the condition Approved.
pub const APPROVED_REASON: &str = "SansProven";

/// The decision about a request, without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Write the condition Approved.
    Approve,
    /// Write the condition Denied.
    Deny,
    /// Leave the request pending and judge it again later.
    Wait,
    /// Leave the request alone.
    Ignore,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Decision; 4] = [
        Decision::Approve,
        Decision::Deny,
        Decision::Wait,
        Decision::Ignore,
    ];

    /// The word in metrics, logs and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Approve => "Approve",
            Decision::Deny => "Deny",
            Decision::Wait => "Wait",
            Decision::Ignore => "Ignore",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The request that was judged, and the version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    name: String,
    uid: Arc<str>,
    resource_version: String,
}

/// A condition to write. Only [`judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    subject: Subject,
    reason: &'static str,
    message: String,
}

macro_rules! sealed {
    ($(#[$doc:meta])* $name:ident, $condition:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Condition);

        impl $name {
            /// The type of the condition.
            pub const CONDITION: &'static str = $condition;

            /// `metadata.name` of the request.
            pub fn name(&self) -> &str {
                &self.0.subject.name
            }

            /// `metadata.uid` of the request.
            pub fn uid(&self) -> &str {
                &self.0.subject.uid
            }

            /// `metadata.resourceVersion` of the state that was judged.
            pub fn resource_version(&self) -> &str {
                &self.0.subject.resource_version
            }

            /// The condition's reason.
            pub fn reason(&self) -> &'static str {
                self.0.reason
            }

            /// The condition's message.
            pub fn message(&self) -> &str {
                &self.0.message
            }
        }
    };
}

sealed! {
    /// Proof that a request was judged and approved.
    Approval, "Approved"
}
sealed! {
    /// Proof that a request was judged and denied.
    Denial, "Denied"
}

/// The decision, with what is needed to carry it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every requested name is proven.
    Approve(Approval),
    /// A finding that no later state of the cluster could change.
    Deny(Denial),
    /// Evidence is missing. The list names what can change the verdict.
    Wait(Vec<Awaited>),
    /// The request is not csr-warden's to decide.
    Ignore,
}

impl Verdict {
    /// The decision alone.
    pub fn decision(&self) -> Decision {
        match self {
            Verdict::Approve(_) => Decision::Approve,
            Verdict::Deny(_) => Decision::Deny,
            Verdict::Wait(_) => Decision::Wait,
            Verdict::Ignore => Decision::Ignore,
        }
    }
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// The verdict.
    pub verdict: Verdict,
    /// All findings, also those that did not decide.
    pub findings: Findings,
    /// Each requested name, with the sources that vouch for it.
    pub sans: Vec<SanProof>,
}

impl Judgment {
    /// The codes of all findings, each once, in the order of the findings.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        for finding in self.findings.iter() {
            if !codes.contains(&finding.code) {
                codes.push(finding.code);
            }
        }
        codes
    }
}

/// Judges a request. The result depends on nothing but the arguments.
pub fn judge(
    request: &Request,
    policy: &Policy,
    evidence: &Evidence,
    now: impl Into<Instants>,
) -> Judgment {
    let case = Case::new(request, policy, evidence, now.into());
    let found = rules::apply(&case);
    let verdict = match found.findings.effect() {
        Some(Effect::Ignore) => Verdict::Ignore,
        Some(Effect::Deny) => Verdict::Deny(Denial(denial_condition(&case, &found.findings))),
        Some(Effect::Wait) => Verdict::Wait(awaited(&case, &found.findings)),
        // The absence of findings proves nothing: a source must vouch for each name.
        None if is_proven(request.content.as_ref(), &found.proofs) => {
            Verdict::Approve(Approval(approval_condition(&case, &found.proofs)))
        }
        None => Verdict::Wait(awaited(&case, &found.findings)),
    };
    Judgment {
        verdict,
        findings: found.findings,
        sans: found.proofs,
    }
}

fn is_proven(content: Option<&Content>, proofs: &[SanProof]) -> bool {
    content.is_some_and(|content| {
        !content.sans.is_empty()
            && content.sans.len() == proofs.len()
            && content
                .sans
                .iter()
                .zip(proofs)
                .all(|(san, proof)| *san == proof.san)
            && proofs.iter().all(|proof| !proof.vouched_by.is_empty())
    })
}

fn approval_condition(case: &Case<'_>, proofs: &[SanProof]) -> Condition {
    let names: Vec<String> = proofs
        .iter()
        .map(|proof| format!("{} ({})", proof.san, proof.vouched_by.join(", ")))
        .collect();
    condition(case, APPROVED_REASON, &names.join("; "))
}

fn denial_condition(case: &Case<'_>, findings: &Findings) -> Condition {
    let denying = || findings.iter().filter(|f| f.effect == Effect::Deny);
    let reason = denying().next().map_or("", |finding| finding.code.as_str());
    let details: Vec<&str> = denying().map(|finding| finding.detail.as_str()).collect();
    condition(case, reason, &details.join("; "))
}

fn condition(case: &Case<'_>, reason: &'static str, why: &str) -> Condition {
    let object = &case.request.object;
    let policy = case.policy;
    let message = truncated(format!(
        "{MESSAGE_PREFIX}{} ({}): {why}",
        policy.metadata.name, policy.digest
    ));
    Condition {
        subject: Subject {
            name: object.name.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
        },
        reason,
        message,
    }
}

fn truncated(mut message: String) -> String {
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    if end < message.len() {
        message.truncate(end);
        message.push('…');
    }
    message
}

fn awaited(case: &Case<'_>, findings: &Findings) -> Vec<Awaited> {
    let mut awaited: Vec<Awaited> = findings
        .iter()
        .flat_map(|finding| finding.awaits.iter().cloned())
        .collect();
    if awaited.is_empty()
        && let Some(requestor) = &case.requestor
    {
        awaited.push(Awaited::Node(requestor.shared()));
    }
    awaited.sort_unstable();
    awaited.dedup();
    awaited
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::csr::Fingerprint;
    use crate::csr::names::{DnsName, San};

    fn san(text: &str) -> San {
        San::Dns(DnsName::parse(text.as_bytes()).unwrap())
    }

    fn asking(sans: &[&str]) -> Option<Content> {
        Some(Content {
            common_name: None,
            sans: sans.iter().map(|text| san(text)).collect(),
            san_count: sans.len(),
            key: Fingerprint::of(b"a key"),
        })
    }

    fn proof(text: &str, by: &[&str]) -> SanProof {
        SanProof {
            san: san(text),
            vouched_by: by.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    /// A second check, independent of the rules.
    #[test]
    fn a_source_must_vouch_for_each_name() {
        let both = [proof("a", &["Node"]), proof("b", &["Node"])];
        assert!(is_proven(asking(&["a", "b"]).as_ref(), &both));
        assert!(!is_proven(None, &both));
        assert!(!is_proven(asking(&[]).as_ref(), &[]));
        assert!(!is_proven(asking(&["a"]).as_ref(), &[]));
        assert!(!is_proven(asking(&["a"]).as_ref(), &both));
        assert!(!is_proven(asking(&["a", "b", "c"]).as_ref(), &both));
        assert!(!is_proven(asking(&["a", "c"]).as_ref(), &both));
        let unproven = [proof("a", &["Node"]), proof("b", &[])];
        assert!(!is_proven(asking(&["a", "b"]).as_ref(), &unproven));
    }

    #[test]
    fn a_long_message_is_truncated_between_characters() {
        let short = "ä".repeat(MAX_MESSAGE_BYTES / 2);
        assert_eq!(truncated(short.clone()), short);
        assert_eq!(truncated(format!("{short}ä")), format!("{short}…"));
        let odd = format!("x{short}");
        let shorter = "ä".repeat(MAX_MESSAGE_BYTES / 2 - 1);
        assert_eq!(truncated(odd), format!("x{shorter}…"));
    }
}
