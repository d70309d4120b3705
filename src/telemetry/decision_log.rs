//! Decision log: one line on standard output for each decision, of bounded length.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::line_budget::LineBudget;
use super::log_queue::{Importance, LogQueue, Loss, Stream};
use super::printable::{cut, printable};
use crate::cluster::clock::Clock;
use crate::version::VERSION;
use judge::Judgment;
use judge::csr::{CsrObject, Fingerprint};
use judge::finding::{Finding, escaped};
use judge::policy::{Enforcement, Policy};

/// Maximum number of findings in a line.
const MAX_FINDINGS: usize = 8;
/// Maximum number of SANs in a line.
const MAX_SANS: usize = 8;
/// Maximum length of the detail of a finding, in bytes.
const MAX_DETAIL_BYTES: usize = 512;
/// Maximum length of a name, in bytes: a DNS name of 253, with some words.
const MAX_NAME_BYTES: usize = 300;

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
    requestor: Cow<'a, str>,
    /// Node of the requestor; empty if the requestor is not a node.
    node: Cow<'a, str>,
    /// The codes of all findings, without duplicates.
    codes: Vec<&'static str>,
    /// Findings, first those that decided; at most 8, with details of at most 512 bytes.
    #[schemars(extend("maxItems" = MAX_FINDINGS))]
    findings: Vec<LoggedFinding<'a>>,
    /// Number of further findings.
    findings_omitted: usize,
    /// The requested SANs, if the request was compared with evidence; at most 8.
    #[schemars(extend("maxItems" = MAX_SANS))]
    sans: Vec<LoggedSan<'a>>,
    /// Number of further SANs.
    sans_omitted: usize,
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
    detail: Cow<'a, str>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "San")]
struct LoggedSan<'a> {
    /// `DNS:` or `IP:`, followed by the name or address.
    san: String,
    /// Sources that vouch for the SAN; empty if none does.
    vouched_by: Vec<Cow<'a, str>>,
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
    queue: LogQueue,
    budget: LineBudget,
    clock: Clock,
}

impl DecisionLog {
    /// A log of the replica with this identity.
    pub fn new(format: Format, replica: String, queue: LogQueue, clock: Clock) -> DecisionLog {
        DecisionLog {
            format,
            replica,
            queue,
            budget: LineBudget::new(clock.now().instant),
            clock,
        }
    }

    /// The queue of its lines.
    pub fn queue(&self) -> &LogQueue {
        &self.queue
    }

    /// Queues one record, and never blocks. A decision that is written to the API server is required.
    /// Any other is lost, and counted, if its requestor is over budget or the queue is full.
    pub fn record(&mut self, decision: Decision<'_>, importance: Importance) {
        let requestor = &decision.object.requestor.username;
        let instant = self.clock.now().instant;
        if importance == Importance::Ordinary && !self.budget.take(requestor, instant) {
            self.queue.lost().record(Loss::Budget);
            return;
        }
        let timestamp = self.clock.time_of_day();
        let line = match self.format {
            Format::Json => json(timestamp, decision, &self.replica),
            Format::Text => Ok(printable(&text(timestamp, decision)).into_owned()),
        };
        let Ok(mut line) = line else {
            self.queue.lost().record(Loss::Error);
            return;
        };
        line.push('\n');
        self.queue
            .push(Stream::Stdout, importance, line.into_bytes());
    }
}

fn json(timestamp: Timestamp, decision: Decision<'_>, replica: &str) -> serde_json::Result<String> {
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
        requestor: cut(&object.requestor.username, MAX_NAME_BYTES),
        node: cut(
            object.requestor.node_part().unwrap_or_default(),
            MAX_NAME_BYTES,
        ),
        codes: judgment.codes().iter().map(|code| code.as_str()).collect(),
        findings: first_findings(judgment).map(logged_finding).collect(),
        findings_omitted: judgment
            .findings
            .iter()
            .count()
            .saturating_sub(MAX_FINDINGS),
        sans: judgment
            .sans
            .iter()
            .take(MAX_SANS)
            .map(|proof| LoggedSan {
                san: cut(&proof.san.to_string(), MAX_NAME_BYTES).into_owned(),
                vouched_by: proof
                    .vouched_by
                    .iter()
                    .map(|source| cut(source, MAX_NAME_BYTES))
                    .collect(),
            })
            .collect(),
        sans_omitted: judgment.sans.len().saturating_sub(MAX_SANS),
        policy: &policy.metadata.name,
        policy_digest: &policy.digest,
        enforcement: enforcement.to_string(),
        key_fingerprint: key.map(|key| key.to_string()),
        expiration_seconds: object.expiration_seconds,
        replica,
        version: VERSION,
    };
    serde_json::to_string(&line)
}

/// The findings of a line: those that decided come first.
fn first_findings(judgment: &Judgment) -> impl Iterator<Item = &Finding> {
    let decisive = judgment.findings.effect();
    let decided = move |finding: &&Finding| Some(finding.effect) == decisive;
    let others = judgment.findings.iter().filter(move |f| !decided(f));
    let first = judgment.findings.iter().filter(decided);
    first.chain(others).take(MAX_FINDINGS)
}

fn logged_finding(finding: &Finding) -> LoggedFinding<'_> {
    LoggedFinding {
        code: finding.code.as_str(),
        row: finding.code.row(),
        detail: cut(&finding.detail, MAX_DETAIL_BYTES),
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
    let requestor = escaped(object.requestor.username.as_bytes());
    let request = escaped(object.name.as_bytes());
    let mut line = format!("{timestamp:.3} {verdict:<7} {request} {requestor}");
    for finding in first_findings(judgment) {
        let detail = cut(&finding.detail, MAX_DETAIL_BYTES);
        let _ = write!(line, " [{}] {detail}", finding.code);
    }
    let _ = write_omitted(&mut line, judgment.findings.iter().count(), MAX_FINDINGS);
    if judgment.findings.is_empty() {
        for proof in judgment.sans.iter().take(MAX_SANS) {
            let by = proof.vouched_by.join(", ");
            let by = cut(&by, MAX_DETAIL_BYTES);
            let _ = write!(line, " {} ({by})", proof.san);
        }
        let _ = write_omitted(&mut line, judgment.sans.len(), MAX_SANS);
    }
    let _ = write!(
        line,
        " policy={} digest={} enforcement={enforcement}",
        policy.metadata.name, policy.digest
    );
    line
}

/// Writes the number of those that the line leaves out.
fn write_omitted(line: &mut String, count: usize, max: usize) -> std::fmt::Result {
    match count.saturating_sub(max) {
        0 => Ok(()),
        omitted => write!(line, " (and {omitted} more)"),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use judge::csr::names::San;
    use judge::csr::{PreservedMetadata, Requestor};
    use judge::finding::{Code, Findings};
    use judge::policy::default_policy;
    use judge::{SanProof, Verdict};

    fn object(username: String) -> CsrObject {
        CsrObject {
            name: "n\u{1b}[2J\nforged".repeat(15),
            uid: "1".into(),
            resource_version: "1".into(),
            created: Timestamp::UNIX_EPOCH,
            terminating: false,
            signer: "kubernetes.io/kubelet-serving".into(),
            requestor: Requestor {
                username: username.into(),
                ..Requestor::default()
            },
            usages: Default::default(),
            expiration_seconds: None,
            settled: None,
            preserved: PreservedMetadata::default(),
        }
    }

    /// A decision with as much as a requestor can put into it.
    fn judgment() -> Judgment {
        let mut findings = Findings::default();
        for code in Code::ALL {
            findings.add(*code, format!("{code} {}", "é".repeat(1000)));
        }
        let proof = |number: u16| SanProof {
            san: San::Ip(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into()),
            vouched_by: vec!["Hostname of Node n".repeat(100); 2],
        };
        Judgment {
            verdict: Verdict::Ignore,
            findings,
            sans: (0..58).map(proof).collect(),
        }
    }

    #[test]
    fn a_line_is_bounded_and_counts_what_it_omits() {
        let (object, judgment) = (
            object(format!("system:node:{}", "n".repeat(5000))),
            judgment(),
        );
        let policy = default_policy().unwrap();
        let decision = Decision {
            object: &object,
            judgment: &judgment,
            key: None,
            policy: &policy,
            enforcement: Enforcement::DryRun,
        };
        let now = Timestamp::UNIX_EPOCH;
        let line = json(now, decision, "replica").unwrap();
        assert!(line.len() < 20 * 1024, "{} bytes", line.len());
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["findings"].as_array().unwrap().len(), MAX_FINDINGS);
        assert_eq!(line["findingsOmitted"], Code::ALL.len() - MAX_FINDINGS);
        assert_eq!(line["codes"].as_array().unwrap().len(), Code::ALL.len());
        assert_eq!(line["findings"][0]["code"], "SignerOther", "it decided");
        assert_eq!(line["sans"].as_array().unwrap().len(), MAX_SANS);
        assert_eq!(line["sansOmitted"], 58 - MAX_SANS);

        let line = text(now, decision);
        assert!(line.len() < 8 * 1024, "{} bytes", line.len());
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        let omitted = format!("(and {} more)", Code::ALL.len() - MAX_FINDINGS);
        assert!(line.contains(&omitted), "{line}");
    }
}
