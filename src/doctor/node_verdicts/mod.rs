//! Verdicts on the requests that the kubelets of all Nodes would send: the report's data.
//!
//! The evidence comes from the caller, and the judge is the daemon's. Nothing here reads a cluster.

mod addresses;
mod contested;
mod judging;
mod lift;
mod policy_lines;
mod suggested_policy;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;

pub use judging::{Basis, Subject, judge_nodes};

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use judge::Decision;
use judge::csr::Request;
use judge::csr::names::San;
use judge::finding::Code;

/// The verdicts on the requests that the Nodes' kubelets would send.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeVerdicts {
    /// The name of the policy.
    pub policy: String,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    pub policy_digest: String,
    /// The Nodes: denied ones first, approved ones last.
    pub items: Vec<NodeVerdict>,
    /// Names and addresses that several Nodes claim, and that keep a request waiting.
    pub contested: Vec<Contested>,
    /// Fields of the policy that would let more Nodes through.
    pub policy_lines: Vec<PolicyLine>,
    /// The whole policy with these fields, as YAML; none without fields.
    pub suggested_policy: Option<String>,
    /// Addresses of the API server that are not one control-plane node's alone.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// Addresses that several Nodes have.
    pub shared_addresses: Vec<SharedAddress>,
    /// Nodes whose names are under the cluster's own domain.
    pub under_cluster_domain: Vec<String>,
    /// Sources of evidence that could not be read. The verdicts do not depend on them.
    pub missing_evidence: Vec<MissingEvidence>,
}

/// The verdict on one Node's request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeVerdict {
    /// The Node's name.
    pub node: String,
    /// True if it has the label of control-plane nodes.
    pub control_plane: bool,
    /// `Approve`, `Wait`, `Deny` or `Ignore`; none if the kubelet sends no request.
    pub verdict: Option<&'static str>,
    /// The reason that no request is sent.
    pub not_sent: Option<String>,
    /// The names and addresses in the request.
    pub sans: Vec<String>,
    /// The findings, decisive ones first.
    pub findings: Vec<NodeFinding>,
    /// The verdict with all suggested policy lines, if the policy in force does not approve.
    pub with_policy_lines: Option<&'static str>,
}

/// A finding about one Node's request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFinding {
    /// Its code (`docs/verdicts.md`).
    pub code: &'static str,
    /// `Wait`, `Deny` or `Ignore`.
    pub effect: &'static str,
    /// Expected and found values.
    pub detail: String,
}

/// A name or address that several Nodes claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contested {
    /// `DNS:name`, `IP:address` or a provider ID.
    pub claimed: String,
    /// The claimants, at most 10.
    pub nodes: Vec<String>,
    /// The number of further claimants.
    pub more: usize,
}

/// A field of the policy that lets more Nodes through.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLine {
    /// Its path below `spec`, such as `names.serviceLike`.
    pub field: String,
    /// The whole value that the field would have.
    pub value: Value,
    /// The protection that is lost.
    pub gives_up: String,
    /// The Nodes that it is for.
    pub nodes: Vec<String>,
}

/// An address of the API server that is not one control-plane node's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualAddress {
    /// The address.
    pub address: String,
    /// The control-plane nodes that list it.
    pub nodes: Vec<String>,
}

/// An address that several Nodes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedAddress {
    /// The address.
    pub address: String,
    /// The number of Nodes that have it.
    pub count: usize,
    /// The first of them, at most 10.
    pub nodes: Vec<String>,
    /// True if the policy lets several Nodes have it (`names.shared`).
    pub allowed: bool,
}

/// A source of evidence that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingEvidence {
    /// Its name, as in metrics.
    pub source: String,
    /// The cause.
    pub reason: String,
}

/// A request that is not approved, with the findings of each of its SANs.
struct Refused<'a> {
    node: &'a str,
    request: &'a Request,
    /// Codes of the whole request.
    codes: Vec<Code>,
    /// Codes of each SAN, judged alone.
    sans: Vec<(San, Vec<Code>)>,
}

/// Maximum number of Nodes that are named for one address.
const MAX_NAMED: usize = 10;

impl NodeVerdicts {
    /// The number of Nodes with this decision.
    pub fn count(&self, decision: Decision) -> usize {
        let items = self.items.iter();
        items
            .filter(|item| item.verdict == Some(decision.as_str()))
            .count()
    }

    /// The Nodes with this decision.
    pub fn named(&self, decision: Decision) -> impl Iterator<Item = &NodeVerdict> {
        let items = self.items.iter();
        items.filter(move |item| item.verdict == Some(decision.as_str()))
    }

    /// The number of Nodes that only the suggested policy lines let through.
    pub fn let_through(&self) -> usize {
        let approve = Some(Decision::Approve.as_str());
        let items = self.items.iter();
        items
            .filter(|item| item.with_policy_lines == approve)
            .count()
    }
}

impl NodeVerdict {
    /// The findings that led to the verdict.
    pub fn decisive(&self) -> impl Iterator<Item = &NodeFinding> {
        let findings = self.findings.iter();
        findings.filter(|finding| Some(finding.effect) == self.verdict)
    }

    /// The codes of the findings that led to the verdict, each once.
    pub fn decisive_codes(&self) -> Vec<&'static str> {
        let mut seen = BTreeSet::new();
        let codes = self.decisive().map(|finding| finding.code);
        codes.filter(|code| seen.insert(*code)).collect()
    }
}
