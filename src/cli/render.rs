//! Rendering of judgments, as text for people and as JSON or YAML for programs.

use std::fmt::Write;

use anyhow::{Context, Result};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::WIDTH;
use crate::telemetry::printable::printable;
use crate::telemetry::remedy::remedy_without_order;
use judge::Judgment;
use judge::csr::CsrObject;
use judge::evidence::Source;
use judge::finding::{Effect, Finding, escaped};
use judge::policy::Policy;

/// One judged request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    /// Its name.
    request: String,
    /// The requestor's user name.
    requestor: String,
    /// `Approve`, `Deny`, `Wait` or `Ignore`.
    pub(super) verdict: &'static str,
    /// All findings, not only the decisive ones.
    pub(super) findings: Vec<ShownFinding>,
    /// Each requested name and address.
    sans: Vec<ShownSan>,
    /// The name of the policy.
    policy: String,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    policy_digest: String,
    /// Sources of evidence that the files do not contain.
    missing_sources: Vec<&'static str>,
}

/// One finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownFinding {
    /// Its stable name (`docs/verdicts.md`).
    pub(super) code: &'static str,
    /// Its row there.
    row: u8,
    /// `Wait`, `Deny` or `Ignore`.
    pub(super) effect: &'static str,
    /// Expected and found values.
    pub(super) detail: String,
    /// Remedy: what would change it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// A name or address, and the sources that vouch for it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShownSan {
    /// `DNS:name` or `IP:address`.
    san: String,
    /// Sources that vouch for it and how; empty if no source does.
    vouched_by: Vec<String>,
}

impl ShownFinding {
    fn new(finding: &Finding) -> ShownFinding {
        ShownFinding {
            code: finding.code.as_str(),
            row: finding.code.row(),
            effect: match finding.effect {
                Effect::Wait => "Wait",
                Effect::Deny => "Deny",
                Effect::Ignore => "Ignore",
            },
            detail: finding.detail.clone(),
            remedy: None,
        }
    }

    /// First finding that led to this verdict, and the number of further ones.
    pub(super) fn decisive<'a>(
        findings: &'a [ShownFinding],
        verdict: &str,
    ) -> Option<(&'a ShownFinding, usize)> {
        let mut decisive = findings.iter().filter(|finding| finding.effect == verdict);
        Some((decisive.next()?, decisive.count()))
    }

    /// Finding code and the number of further findings, for a table cell.
    pub(super) fn counted(&self, more: usize) -> String {
        match more {
            0 => self.code.to_owned(),
            more => format!("{} +{more}", self.code),
        }
    }

    /// Returns true if both findings have the same code, effect and remedy.
    fn is_like(&self, other: &ShownFinding) -> bool {
        (self.code, self.effect, &self.remedy) == (other.code, other.effect, &other.remedy)
    }

    /// Findings of a judgment, each with its remedy.
    pub(super) fn explained(judgment: &Judgment, now: Timestamp) -> Vec<ShownFinding> {
        let with_change = |finding| ShownFinding {
            remedy: Some(remedy_without_order(finding, now)),
            ..ShownFinding::new(finding)
        };
        judgment.findings.iter().map(with_change).collect()
    }
}

impl Shown {
    pub(super) fn new(
        object: &CsrObject,
        judgment: &Judgment,
        policy: &Policy,
        not_given: &[Source],
    ) -> Shown {
        Shown {
            request: object.name.clone(),
            requestor: escaped(object.requestor.username.as_bytes()),
            verdict: judgment.verdict.decision().as_str(),
            findings: judgment.findings.iter().map(ShownFinding::new).collect(),
            sans: judgment
                .sans
                .iter()
                .map(|proof| ShownSan {
                    san: proof.san.to_string(),
                    vouched_by: proof.vouched_by.clone(),
                })
                .collect(),
            policy: policy.metadata.name.clone(),
            policy_digest: policy.digest.clone(),
            missing_sources: not_given.iter().map(|source| source.as_str()).collect(),
        }
    }

    /// Same as `new`, with the remedy of each finding.
    pub(super) fn explained(
        object: &CsrObject,
        judgment: &Judgment,
        policy: &Policy,
        now: Timestamp,
    ) -> Shown {
        Shown {
            findings: ShownFinding::explained(judgment, now),
            ..Shown::new(object, judgment, policy, &[])
        }
    }

    /// Text for people, at most [`WIDTH`] columns wide where words allow it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "{}  {}  {}",
            self.verdict,
            printable(&self.request),
            printable(&self.requestor)
        );
        for alike in self.findings.chunk_by(ShownFinding::is_like) {
            let Some(first) = alike.first() else { continue };
            let _ = write!(text, "\n  {}: {}", first.code, first.effect);
            if first.remedy.is_some() {
                let _ = write!(text, " (row {})", first.row);
            }
            let details: Vec<&str> = alike.iter().map(|one| one.detail.as_str()).collect();
            let _ = writeln!(text);
            for detail in together(&details) {
                let _ = writeln!(text, "{}", wrap(&detail, "    "));
            }
            if let Some(change) = &first.remedy {
                let _ = writeln!(text, "{}", wrap(change, "    "));
            }
        }
        if !self.sans.is_empty() {
            let _ = writeln!(text);
        }
        for san in &self.sans {
            let by = if san.vouched_by.is_empty() {
                "no source vouches for it".to_owned()
            } else {
                san.vouched_by.join(", ")
            };
            let _ = writeln!(text, "{}", wrap(&format!("{}  {by}", san.san), "  "));
        }
        let policy = format!("policy {} ({})", self.policy, self.policy_digest);
        let _ = writeln!(text, "\n{}", wrap(&policy, "  "));
        text
    }
}

/// Merges sentences that differ in one word into one sentence with all of these words.
fn together(sentences: &[&str]) -> Vec<String> {
    let words: Vec<Vec<&str>> = sentences
        .iter()
        .map(|one| one.split(' ').collect())
        .collect();
    let Some((first, others)) = words.split_first() else {
        return Vec::new();
    };
    let differ = |other: &Vec<&str>| -> Vec<usize> {
        let pairs = first.iter().zip(other).enumerate();
        pairs
            .filter(|(_, (a, b))| a != b)
            .map(|(at, _)| at)
            .collect()
    };
    let mut places: Vec<usize> = others.iter().flat_map(differ).collect();
    places.dedup();
    let same_length = others.iter().all(|other| other.len() == first.len());
    let at = match places.as_slice() {
        [at] if same_length => *at,
        _ => return sentences.iter().map(|&one| one.to_owned()).collect(),
    };
    let mut different: Vec<&str> = Vec::new();
    for word in words.iter().filter_map(|words| words.get(at)) {
        if !different.contains(word) {
            different.push(word);
        }
    }
    let last = different.pop().unwrap_or_default();
    let listed = format!("{} and {last}", different.join(", "));
    let mut one: Vec<&str> = first.clone();
    if let Some(word) = one.get_mut(at) {
        *word = &listed;
    }
    if let [subject, verb, ..] = one.as_mut_slice()
        && *subject == listed
    {
        *verb = match *verb {
            "is" => "are",
            "was" => "were",
            "has" => "have",
            other => other,
        };
    }
    vec![one.join(" ")]
}

/// Text of all judgments for people, followed by the sources that were not given.
pub(super) fn text(shown: &[Shown], not_given: &[Source]) -> String {
    let mut parts: Vec<String> = shown.iter().map(Shown::text).collect();
    if !not_given.is_empty() {
        let names: Vec<&str> = not_given.iter().copied().map(for_people).collect();
        let sentence = format!(
            "Not checked, since no file contains any: {}. The daemon checks these too.",
            names.join(", ")
        );
        parts.push(wrap(&sentence, "") + "\n");
    }
    parts.join("\n")
}

fn for_people(source: Source) -> &'static str {
    match source {
        Source::Nodes => "Nodes",
        Source::Namespaces => "Namespaces",
        Source::Requests => "other requests (whose keys are in use)",
        Source::KubernetesService => "the Service default/kubernetes",
        Source::ApiServerEndpoints => "EndpointSlices of default/kubernetes",
        Source::ServiceCidrs => "ServiceCIDRs",
        Source::ClusterInfo => "the ConfigMap kube-public/cluster-info",
        Source::ApiServerCertificates => "certificates of all API servers",
        Source::Inventory => "an inventory",
        Source::Machines => "Machines",
        Source::Dns => "DNS",
        Source::ServingCertificates => "the certificates that kubelets show",
    }
}

/// Renders a serializable value as JSON or YAML.
pub(super) fn whole(value: &impl Serialize, format: Whole) -> Result<String> {
    match format {
        Whole::Json => {
            let text = serde_json::to_string_pretty(value)?;
            Ok(text + "\n")
        }
        // Converted through JSON, so that both formats have the same content.
        Whole::Yaml => Ok(serde_saphyr::to_string(&serde_json::to_value(value)?)?),
    }
}

/// Output format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Json,
    Yaml,
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<()> {
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).context("cannot write")
}

/// Writes lines for people to standard error, since programs can read standard output.
pub(super) fn note(lines: &[String]) {
    for line in lines {
        let text = super::told(line, std::io::IsTerminal::is_terminal(&std::io::stderr()));
        // A failed write is ignored: the output contains the same information.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }
}

/// JSON: an object for one request, an array for several.
pub(super) fn json(shown: &[Shown]) -> Result<String> {
    let mut text = match shown {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    };
    text.push('\n');
    Ok(text)
}

/// YAML: one document for each request.
pub(super) fn yaml(shown: &[Shown]) -> Result<String> {
    let documents: Result<Vec<String>, _> = shown.iter().map(serde_saphyr::to_string).collect();
    Ok(documents?.join("---\n"))
}

/// Wraps text to the width of a terminal. Each line begins with `indent`. Untrusted text in it is
/// escaped.
pub(super) fn wrap(text: &str, indent: &str) -> String {
    let text = &*printable(text);
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(indent)
        .subsequent_indent(indent)
        // Names stay whole, so that they can be searched for and copied.
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_that_differ_in_one_word_are_one() {
        let listed = |san: &str| format!("the inventory does not list {san} at Node n1");
        let both = [listed("DNS:n1"), listed("IP:10.0.0.1")];
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        assert_eq!(together(&both), [listed("DNS:n1 and IP:10.0.0.1")]);
        assert_eq!(together(&["a b", "c b", "d b"]), ["a, c and d b"]);
        assert_eq!(together(&["a is b", "c is b"]), ["a and c are b"]);
        assert_eq!(together(&["b is a", "b is c"]), ["b is a and c"]);
        assert_eq!(together(&["a b", "c d"]), ["a b", "c d"]);
        assert_eq!(together(&["a b", "a c", "d b"]), ["a b", "a c", "d b"]);
        assert_eq!(together(&["a b", "a b c"]), ["a b", "a b c"]);
        assert_eq!(together(&["a b"]), ["a b"]);
        assert_eq!(together(&[]), Vec::<String>::new());
    }
}
