//! The audit log: one line on standard output for each decision.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::Judgement;
use crate::csr::Object;
use crate::finding::Finding;
use crate::policy::{Enforcement, Policy};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    Json,
    /// For people.
    Text,
}

/// A decision as it is logged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: Timestamp,
    kind: &'static str,
    verdict: &'static str,
    request: &'a str,
    uid: &'a str,
    requestor: &'a str,
    /// Empty if the requestor is no node.
    node: &'a str,
    codes: Vec<&'static str>,
    findings: Vec<LoggedFinding<'a>>,
    sans: Vec<LoggedSan<'a>>,
    policy: &'a str,
    policy_digest: &'a str,
    enforcement: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedFinding<'a> {
    code: &'static str,
    row: u8,
    detail: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedSan<'a> {
    san: String,
    vouched_by: &'a [String],
}

/// Writes one line. The error is for a metric: nobody can be told where nothing can be written.
pub fn log(
    format: Format,
    now: Timestamp,
    object: &Object,
    judgement: &Judgement,
    policy: &Policy,
    enforcement: Enforcement,
) -> std::io::Result<()> {
    let mut line = match format {
        Format::Json => json(now, object, judgement, policy, enforcement)?,
        Format::Text => text(now, object, judgement, policy, enforcement),
    };
    line.push('\n');
    std::io::stdout().lock().write_all(line.as_bytes())
}

fn json(
    now: Timestamp,
    object: &Object,
    judgement: &Judgement,
    policy: &Policy,
    enforcement: Enforcement,
) -> std::io::Result<String> {
    let line = Line {
        time: now,
        kind: "Decision",
        verdict: judgement.verdict.decision().as_str(),
        request: &object.name,
        uid: &object.uid,
        requestor: &object.requestor.username,
        node: object.requestor.node_part().unwrap_or_default(),
        codes: judgement.codes().iter().map(|code| code.as_str()).collect(),
        findings: judgement.findings.iter().map(logged_finding).collect(),
        sans: judgement
            .sans
            .iter()
            .map(|proof| LoggedSan {
                san: proof.san.to_string(),
                vouched_by: &proof.vouched_by,
            })
            .collect(),
        policy: &policy.metadata.name,
        policy_digest: &policy.digest,
        enforcement: enforcement.to_string(),
    };
    Ok(serde_json::to_string(&line)?)
}

fn logged_finding(finding: &Finding) -> LoggedFinding<'_> {
    LoggedFinding {
        code: finding.code.as_str(),
        row: finding.code.row(),
        detail: &finding.detail,
    }
}

fn text(
    now: Timestamp,
    object: &Object,
    judgement: &Judgement,
    policy: &Policy,
    enforcement: Enforcement,
) -> String {
    let verdict = judgement.verdict.decision();
    let requestor = crate::finding::shown(object.requestor.username.as_bytes());
    let mut line = format!("{now:.3} {verdict:<7} {} {requestor}", object.name);
    for finding in judgement.findings.iter() {
        let _ = write!(line, " [{}] {}", finding.code, finding.detail);
    }
    if judgement.findings.is_empty() {
        for proof in &judgement.sans {
            let _ = write!(line, " {} ({})", proof.san, proof.vouched_by.join(", "));
        }
    }
    let _ = write!(
        line,
        " policy={} digest={} enforcement={enforcement}",
        policy.metadata.name, policy.digest
    );
    line
}
