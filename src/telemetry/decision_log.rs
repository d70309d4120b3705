//! Decision log: one line on standard output for each decision.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::printable::printable;
use judge::Judgment;
use judge::csr::{CsrObject, Fingerprint};
use judge::finding::Finding;
use judge::policy::{Enforcement, Policy};

/// Format of the decision log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON lines.
    Json,
    /// Text for people.
    Text,
}

/// A record of the decision log. It is written each time that the decision on a request changes.
/// Fields may be added.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Decision")]
struct DecisionRecord<'a> {
    /// Time of the decision, RFC 3339 in UTC: the same key as in messages on standard error.
    #[schemars(with = "String", extend("format" = "date-time"))]
    timestamp: Timestamp,
    /// Distinguishes decisions from other log lines.
    #[schemars(extend("const" = "Decision"))]
    kind: &'static str,
    /// The decision.
    #[schemars(extend("enum" = ["Approve", "Deny", "Wait", "Ignore"]))]
    verdict: &'static str,
    /// Name of the CertificateSigningRequest.
    request: &'a str,
    /// UID of the CertificateSigningRequest.
    uid: &'a str,
    /// Username of the requestor, as authenticated by the API server.
    requestor: &'a str,
    /// Node of the requestor; empty if the requestor is not a node.
    node: &'a str,
    /// The codes of all findings, without duplicates.
    codes: Vec<&'static str>,
    /// All findings, including those that did not decide.
    findings: Vec<LoggedFinding<'a>>,
    /// The requested SANs, if the request was compared with evidence.
    sans: Vec<LoggedSan<'a>>,
    /// Name of the policy in force.
    policy: &'a str,
    /// Digest of the policy in force.
    policy_digest: &'a str,
    /// Enforcement: the verdicts that are written to the API server.
    #[schemars(extend("enum" = ["ApproveAndDeny", "ApproveOnly", "DryRun"]))]
    enforcement: String,
    /// SHA-256 of the requested public key (SubjectPublicKeyInfo, DER) in hexadecimal; null if the
    /// request could not be decoded.
    key_fingerprint: Option<String>,
    /// Requested lifetime of the certificate in seconds (`spec.expirationSeconds`); null if the
    /// signer chooses.
    expiration_seconds: Option<i32>,
    /// Identity of the replica that decided: its Pod's name and a random number, as in the Lease.
    replica: &'a str,
    /// Version of csr-warden.
    version: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Finding")]
struct LoggedFinding<'a> {
    /// Code of the finding, which never changes its meaning.
    code: &'static str,
    /// The row in docs/verdicts.md.
    row: u8,
    /// Detail: the expected and the found value.
    detail: &'a str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "San")]
struct LoggedSan<'a> {
    /// `DNS:` or `IP:`, followed by the name or address.
    san: String,
    /// Sources that vouch for the SAN; empty if none does.
    vouched_by: &'a [String],
}

/// The JSON Schema of a record.
pub fn schema() -> Schema {
    schemars::schema_for!(DecisionRecord<'_>)
}

/// A decision to be logged.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The request.
    pub object: &'a CsrObject,
    /// The judgment.
    pub judgment: &'a Judgment,
    /// Fingerprint of the requested key; `None` if the request could not be decoded.
    pub key: Option<Fingerprint>,
    /// The policy in force.
    pub policy: &'a Policy,
    /// The enforcement in force.
    pub enforcement: Enforcement,
}

/// The decision log, on standard output.
#[derive(Clone, Debug)]
pub struct DecisionLog {
    format: Format,
    replica: String,
}

impl DecisionLog {
    /// A log of the replica with this identity.
    pub fn new(format: Format, replica: String) -> DecisionLog {
        DecisionLog { format, replica }
    }

    /// Writes one record. The caller counts an error in a metric, because it cannot be logged.
    pub fn write(&self, timestamp: Timestamp, decision: Decision<'_>) -> std::io::Result<()> {
        let mut line = match self.format {
            Format::Json => self.json(timestamp, decision)?,
            Format::Text => printable(&text(timestamp, decision)).into_owned(),
        };
        line.push('\n');
        std::io::stdout().lock().write_all(line.as_bytes())
    }

    fn json(&self, timestamp: Timestamp, decision: Decision<'_>) -> std::io::Result<String> {
        let Decision {
            object,
            judgment,
            key,
            policy,
            enforcement,
        } = decision;
        let line = DecisionRecord {
            timestamp,
            kind: "Decision",
            verdict: judgment.verdict.decision().as_str(),
            request: &object.name,
            uid: &object.uid,
            requestor: &object.requestor.username,
            node: object.requestor.node_part().unwrap_or_default(),
            codes: judgment.codes().iter().map(|code| code.as_str()).collect(),
            findings: judgment.findings.iter().map(logged_finding).collect(),
            sans: judgment
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
            key_fingerprint: key.map(|key| key.to_string()),
            expiration_seconds: object.expiration_seconds,
            replica: &self.replica,
            version: env!("CARGO_PKG_VERSION"),
        };
        Ok(serde_json::to_string(&line)?)
    }
}

fn logged_finding(finding: &Finding) -> LoggedFinding<'_> {
    LoggedFinding {
        code: finding.code.as_str(),
        row: finding.code.row(),
        detail: &finding.detail,
    }
}

fn text(timestamp: Timestamp, decision: Decision<'_>) -> String {
    let Decision {
        object,
        judgment,
        policy,
        enforcement,
        ..
    } = decision;
    let verdict = judgment.verdict.decision();
    let requestor = judge::finding::escaped(object.requestor.username.as_bytes());
    let mut line = format!("{timestamp:.3} {verdict:<7} {} {requestor}", object.name);
    for finding in judgment.findings.iter() {
        let _ = write!(line, " [{}] {}", finding.code, finding.detail);
    }
    if judgment.findings.is_empty() {
        for proof in &judgment.sans {
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
