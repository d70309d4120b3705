//! What was found, for people and programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::finding_code::{Code, Severity};

/// All that `doctor` says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The API server that was asked.
    pub server: String,
    /// Its version, such as `v1.36.2`, if it said one.
    pub version: Option<String>,
    /// How many Nodes there are, if they could be listed.
    pub nodes: Option<usize>,
    /// How many kubelets were looked at.
    pub kubelets: usize,
    /// The worst of all findings.
    pub severity: Severity,
    /// Every check, in the order in which people should read them.
    pub checks: Vec<Checked>,
}

/// What one check came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// The worst of its findings.
    pub severity: Severity,
    /// What was seen to be right, in a few words.
    pub seen: Option<String>,
    /// What is not right, or not known.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong, or not known.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Nodes, requests, workloads or subjects that it is about.
    pub objects: Vec<String>,
    /// Why it matters.
    pub why: String,
    /// Shell commands that mend it, or show more; lines that begin with `#` say where.
    #[serde(rename = "mend")]
    pub fix: Vec<String>,
}

impl Finding {
    pub(super) fn new(code: Code, what: impl Into<String>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            what: what.into(),
            objects: Vec::new(),
            why: code.why().to_owned(),
            fix: Vec::new(),
        }
    }

    pub(super) fn about(mut self, objects: impl IntoIterator<Item = String>) -> Finding {
        self.objects = objects.into_iter().collect();
        self
    }

    pub(super) fn fix(mut self, command: impl Into<String>) -> Finding {
        self.fix.push(command.into());
        self
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// Whether the cluster is new enough.
    Version,
    /// Whether our clock and the API server's agree.
    Clock,
    /// What kubelets are told to do.
    Configuration,
    /// The certificates that kubelets show.
    Kubelets,
    /// Whether approved requests are signed.
    Signer,
    /// Requests that wait.
    Requests,
    /// Whether csr-warden runs.
    Warden,
    /// Who else approves.
    Approvers,
    /// Who else may approve.
    Rights,
    /// Whether kubelets are kept from other Nodes.
    NodeRestriction,
    /// Whether the API server verifies kubelets.
    ApiServer,
    /// Whether metrics are read from verified kubelets.
    Metrics,
}

impl Check {
    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Check::Version => "Kubernetes version",
            Check::Clock => "clock",
            Check::Configuration => "serverTLSBootstrap",
            Check::Kubelets => "kubelet certificates",
            Check::Signer => "signer",
            Check::Requests => "requests",
            Check::Warden => "csr-warden",
            Check::Approvers => "other approvers",
            Check::Rights => "who may approve",
            Check::NodeRestriction => "NodeRestriction",
            Check::ApiServer => "API server",
            Check::Metrics => "metrics",
        }
    }
}

impl Checked {
    /// All is right, and this was seen.
    pub(super) fn new(check: Check, seen: Option<String>, findings: Vec<Finding>) -> Checked {
        let worst = findings.iter().map(|finding| finding.severity).max();
        Checked {
            check,
            severity: worst.unwrap_or(Severity::Ok),
            seen,
            findings,
        }
    }
}

impl Report {
    /// The codes of all findings, in order, each once.
    pub fn codes(&self) -> Vec<Code> {
        let findings = self.checks.iter().flat_map(|checked| &checked.findings);
        let mut codes: Vec<Code> = findings.map(|finding| finding.code).collect();
        codes.sort();
        codes.dedup();
        codes
    }

    /// How many findings are this bad.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.checks.iter().flat_map(|checked| &checked.findings);
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }
}
