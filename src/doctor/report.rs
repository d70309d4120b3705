//! The report of `doctor`, for people and programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::finding_code::{Code, Severity};
use super::node_verdicts::NodeVerdicts;

/// The report of `doctor`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// URL of the API server.
    pub server: String,
    /// Version of the API server, such as `v1.36.2`, if it could be read.
    pub version: Option<String>,
    /// Number of Nodes, if they could be listed.
    pub nodes: Option<usize>,
    /// Number of kubelets that were checked.
    pub kubelets: usize,
    /// The worst severity of all findings.
    pub severity: Severity,
    /// All checks, in reading order.
    pub checks: Vec<Checked>,
    /// The verdicts on the requests that the Nodes' kubelets would send, if they could be judged.
    pub node_verdicts: Option<NodeVerdicts>,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Name of the check.
    pub check: Check,
    /// The worst severity of its findings.
    pub severity: Severity,
    /// Summary of what is in order, if anything is.
    pub observed: Option<String>,
    /// Problems, warnings and facts that could not be read.
    pub findings: Vec<Finding>,
}

/// A problem, a warning, or a fact that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Code of the finding.
    pub code: Code,
    /// Severity of the finding.
    pub severity: Severity,
    /// Description of what was found.
    pub summary: String,
    /// Affected nodes, requests, workloads or subjects.
    pub objects: Vec<String>,
    /// The reason that it matters.
    pub reason: String,
    /// Shell commands that fix it or show more. Lines that start with `#` say where to run them.
    pub remedy: Vec<String>,
}

impl Finding {
    pub(super) fn new(code: Code, what: impl Into<String>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            summary: what.into(),
            objects: Vec::new(),
            reason: code.why().to_owned(),
            remedy: Vec::new(),
        }
    }

    pub(super) fn about(mut self, objects: impl IntoIterator<Item = String>) -> Finding {
        self.objects = objects.into_iter().collect();
        self
    }

    pub(super) fn fix(mut self, command: impl Into<String>) -> Finding {
        self.remedy.push(command.into());
        self
    }
}

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// Version of Kubernetes.
    Version,
    /// Distribution of Kubernetes, and the approver that it brings.
    Distribution,
    /// Clock skew between this machine and the API server.
    Clock,
    /// Kubelet configuration (`serverTLSBootstrap`).
    Configuration,
    /// Certificates that kubelets present.
    Kubelets,
    /// Signing of approved requests.
    Signer,
    /// Pending requests.
    Requests,
    /// Verdicts on the requests that the Nodes' kubelets would send.
    Nodes,
    /// Addresses and names that are not one Node's alone.
    Addresses,
    /// Installation and leadership of csr-warden.
    Warden,
    /// Approvals by others.
    Approvers,
    /// Subjects that may approve.
    Rights,
    /// Restriction of kubelets to their own Nodes.
    NodeRestriction,
    /// Verification of kubelets by the API server.
    ApiServer,
    /// Verification of kubelets by metrics-server, and metrics of autoscalers.
    Metrics,
}

impl Check {
    /// Title of the check, for people.
    pub fn title(self) -> &'static str {
        match self {
            Check::Version => "Kubernetes version",
            Check::Distribution => "distribution",
            Check::Clock => "clock",
            Check::Configuration => "serverTLSBootstrap",
            Check::Kubelets => "kubelet certificates",
            Check::Signer => "signer",
            Check::Requests => "requests",
            Check::Nodes => "verdicts on Nodes",
            Check::Addresses => "Nodes' addresses",
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
    /// The result of a check, with the worst severity of its findings.
    pub(super) fn new(check: Check, observed: Option<String>, findings: Vec<Finding>) -> Checked {
        let worst = findings.iter().map(|finding| finding.severity).max();
        Checked {
            check,
            severity: worst.unwrap_or(Severity::Ok),
            observed,
            findings,
        }
    }
}

impl Report {
    /// The codes of all findings, sorted and without duplicates.
    pub fn codes(&self) -> Vec<Code> {
        let findings = self.checks.iter().flat_map(|checked| &checked.findings);
        let mut codes: Vec<Code> = findings.map(|finding| finding.code).collect();
        codes.sort();
        codes.dedup();
        codes
    }

    /// The number of findings with this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.checks.iter().flat_map(|checked| &checked.findings);
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }
}
