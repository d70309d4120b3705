//! Policy lines that would let more Nodes through, as YAML that is commented out.
//!
//! Each line begins with `# `, and a comment in the YAML with `# # `. So
//! `csr-warden doctor | sed -n 's/^# //p'` writes a policy.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::WIDTH;
use super::super::render::wrap;
use super::text::named;
use crate::doctor::{NodeVerdicts, PolicyLine};
use crate::telemetry::printable::printable;
use judge::API_VERSION;
use judge::Decision;
use judge::policy::KIND;

/// The policy whose fields are those that a policy file may leave out.
const DEFAULT: &str = "default";

/// The lines, below a sentence about what they change; empty without lines.
pub(super) fn policy_lines(verdicts: &NodeVerdicts) -> String {
    if verdicts.policy_lines.is_empty() {
        return String::new();
    }
    let refused = verdicts.count(Decision::Deny) + verdicts.count(Decision::Wait);
    let is_default = verdicts.policy == DEFAULT;
    let mut lead = format!(
        "Policy lines that let {} of the {refused} others through. Each gives up the protection that is \
         named above it (docs/policy.md).",
        verdicts.let_through()
    );
    if !is_default {
        let _ = write!(
            lead,
            " They belong in policy {}, instead of its own values of these fields.",
            verdicts.policy
        );
    }
    if !verdicts.missing_evidence.is_empty() {
        lead.push_str(
            " They are based on incomplete evidence (EvidenceMissing): run doctor again once it can be read.",
        );
    }
    let mut text = format!("\n{}\n\n", wrap(&lead, ""));
    for line in yaml(&verdicts.policy_lines, is_default).lines() {
        let _ = writeln!(text, "# {}", printable(line));
    }
    text
}

/// The lines as YAML. With the head they are a policy of their own; what it leaves out is as in the default.
fn yaml(lines: &[PolicyLine], has_head: bool) -> String {
    let mut text = String::new();
    if has_head {
        let _ = writeln!(
            text,
            "apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata:\n  name: mine"
        );
    }
    text.push_str("spec:\n");
    let mut section = "";
    for line in lines {
        let (of_section, field) = line.field.split_once('.').unwrap_or(("", &line.field));
        if of_section != section {
            let _ = writeln!(text, "  {of_section}:");
            section = of_section;
        }
        let options = textwrap::Options::new(WIDTH - 2)
            .initial_indent("    # ")
            .subsequent_indent("    # ")
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        let about = format!("{} For: {}.", line.gives_up, named(&line.nodes));
        let _ = writeln!(text, "{}", textwrap::fill(&about, &options));
        let value = Value::Object(Map::from_iter([(field.to_owned(), line.value.clone())]));
        let value = serde_saphyr::to_string(&value).unwrap_or_default();
        for line in value.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::MissingEvidence;
    use judge::policy::{ServiceLike, parse};

    fn line(field: &str, value: Value) -> PolicyLine {
        PolicyLine {
            field: field.to_owned(),
            value,
            gives_up:
                "Every node can get a certificate for a name that pods resolve to a Service, and \
                       pose as it: DNS:registry by w-1"
                    .to_owned(),
            nodes: vec!["w-1".to_owned()],
        }
    }

    #[test]
    fn uncommented_lines_are_a_policy() {
        let verdicts = NodeVerdicts {
            policy: "default".into(),
            policy_lines: vec![
                line("names.max", json!(70)),
                line("names.serviceLike", json!("Allow")),
                line("names.networks", json!(["fd00::/64", "10.0.0.0/24"])),
                line(
                    "protected.allowed",
                    json!([{"node": "007", "sans": ["10.0.0.9", "fd00::"]}]),
                ),
            ],
            ..NodeVerdicts::default()
        };
        let text = policy_lines(&verdicts);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
        let policy = lines.collect::<Vec<_>>().join("\n");
        let policy = parse(&policy)
            .map_err(|why| format!("{why}\n{policy}"))
            .unwrap();
        assert_eq!(policy.spec.names.max, 70);
        assert_eq!(policy.spec.names.service_like, ServiceLike::Allow);
        assert_eq!(policy.spec.names.networks.len(), 2);
        assert_eq!(policy.spec.protected.allowed.len(), 1);
    }

    #[test]
    fn incomplete_evidence_is_named_above_the_lines() {
        let mut verdicts = NodeVerdicts {
            policy: "default".into(),
            policy_lines: vec![line("names.serviceLike", json!("Allow"))],
            ..NodeVerdicts::default()
        };
        assert!(!policy_lines(&verdicts).contains("EvidenceMissing"));
        verdicts.missing_evidence.push(MissingEvidence {
            source: "cluster-info".into(),
            reason: "no".into(),
        });
        assert!(policy_lines(&verdicts).contains("EvidenceMissing"));
    }

    #[test]
    fn lines_for_another_policy_cannot_be_loaded_alone() {
        let verdicts = NodeVerdicts {
            policy: "strict".into(),
            policy_lines: vec![line("names.serviceLike", json!("Allow"))],
            ..NodeVerdicts::default()
        };
        let text = policy_lines(&verdicts);
        assert!(!text.contains("apiVersion"), "{text}");
        assert!(text.contains("policy strict"), "{text}");
    }
}
