//! A judgement as people and programs read it.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::WIDTH;
use crate::Judgement;
use crate::csr::Object;
use crate::evidence::Source;
use crate::finding::{Effect, shown};
use crate::policy::Policy;

/// One judged request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    request: String,
    requestor: String,
    verdict: &'static str,
    findings: Vec<ShownFinding>,
    sans: Vec<ShownSan>,
    policy: String,
    policy_digest: String,
    /// Sources of evidence of which the files hold nothing.
    not_given: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownFinding {
    code: &'static str,
    row: u8,
    effect: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSan {
    san: String,
    vouched_by: Vec<String>,
}

impl Shown {
    pub(super) fn new(
        object: &Object,
        judgement: &Judgement,
        policy: &Policy,
        not_given: &[Source],
    ) -> Shown {
        Shown {
            request: object.name.clone(),
            requestor: shown(object.requestor.username.as_bytes()),
            verdict: judgement.verdict.decision().as_str(),
            findings: judgement
                .findings
                .iter()
                .map(|finding| ShownFinding {
                    code: finding.code.as_str(),
                    row: finding.code.row(),
                    effect: match finding.effect {
                        Effect::Wait => "Wait",
                        Effect::Deny => "Deny",
                        Effect::Ignore => "Ignore",
                    },
                    detail: finding.detail.clone(),
                })
                .collect(),
            sans: judgement
                .sans
                .iter()
                .map(|proof| ShownSan {
                    san: proof.san.to_string(),
                    vouched_by: proof.vouched_by.clone(),
                })
                .collect(),
            policy: policy.metadata.name.clone(),
            policy_digest: policy.digest.clone(),
            not_given: not_given.iter().map(|source| source.as_str()).collect(),
        }
    }

    /// For people, at most [`WIDTH`] wide where words allow it.
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}  {}  {}",
            self.verdict, self.request, self.requestor
        );
        for finding in &self.findings {
            let _ = writeln!(text, "\n  {}: {}", finding.code, finding.effect);
            let _ = writeln!(text, "{}", wrap(&finding.detail, "    "));
        }
        if !self.sans.is_empty() {
            let _ = writeln!(text);
        }
        for san in &self.sans {
            let by = if san.vouched_by.is_empty() {
                "nobody vouches for it".to_owned()
            } else {
                san.vouched_by.join(", ")
            };
            let _ = writeln!(text, "{}", wrap(&format!("{}  {by}", san.san), "  "));
        }
        let _ = writeln!(text, "\n  policy {} ({})", self.policy, self.policy_digest);
        text
    }
}

/// All judgements for people, and at the end what they were made without.
pub(super) fn text(shown: &[Shown], not_given: &[Source]) -> String {
    let mut parts: Vec<String> = shown.iter().map(Shown::text).collect();
    if !not_given.is_empty() {
        let names: Vec<&str> = not_given.iter().copied().map(for_people).collect();
        let sentence = format!(
            "Not looked at, since no file holds any: {}. The daemon looks at these too.",
            names.join(", ")
        );
        parts.push(wrap(&sentence, "") + "\n");
    }
    parts.join("\n")
}

fn for_people(source: Source) -> &'static str {
    match source {
        Source::Nodes => "Nodes",
        Source::Requests => "other requests (whose keys are in use)",
        Source::KubernetesService => "the Service default/kubernetes",
        Source::ApiServerEndpoints => "EndpointSlices of default/kubernetes",
        Source::ServiceCidrs => "ServiceCIDRs",
        Source::ClusterInfo => "the ConfigMap kube-public/cluster-info",
        Source::ApiServerCertificates => "certificates of API servers",
        Source::Inventory => "an inventory",
        Source::Machines => "Machines",
        Source::Dns => "DNS",
        Source::ServingCertificates => "the certificates that kubelets show",
    }
}

/// A JSON object for one request, an array for several.
pub(super) fn json(shown: &[Shown]) -> Result<String> {
    let mut text = match shown {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    };
    text.push('\n');
    Ok(text)
}

/// A YAML document for each request.
pub(super) fn yaml(shown: &[Shown]) -> Result<String> {
    let documents: Result<Vec<String>, _> = shown.iter().map(serde_saphyr::to_string).collect();
    Ok(documents?.join("---\n"))
}

fn wrap(text: &str, indent: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(indent)
        .subsequent_indent(indent);
    textwrap::fill(text, options)
}
