//! Findings on requests, their approvers and the signer.

use jiff::Timestamp;

use super::super::report;
use super::{ago, approved, found, healthy, lease, request, workload};
use crate::doctor::facts::{ApprovedBy, Approver, Lease, Request, State, Workload};
use crate::doctor::finding_code::Code;

fn of_request(created: Timestamp, state: State) -> Vec<Code> {
    found(|facts| facts.requests = Ok(vec![request("csr-1", created, state)]))
}

#[test]
fn requests_and_the_signer() {
    assert_eq!(of_request(ago(60), State::Pending), []);
    assert_eq!(of_request(ago(61), State::Pending), [Code::RequestsPending]);
    // The finding points to the oldest request of a node.
    let mut facts = healthy();
    let other = Request {
        of_node: false,
        ..request("csr-other", ago(900), State::Pending)
    };
    facts.requests = Ok(vec![other]);
    assert_eq!(report(&facts, Ok(approved())).codes(), []);
    facts.requests.as_mut().unwrap().extend([
        request("csr-new", ago(61), State::Pending),
        request("csr-old", ago(90), State::Pending),
    ]);
    let told = report(&facts, Ok(approved()));
    let mut findings = told.checks.iter().flat_map(|checked| &checked.findings);
    let finding = findings.next().unwrap();
    assert_eq!(finding.objects, ["csr-old", "csr-new"]);
    assert_eq!(finding.remedy[1], "csr-warden explain csr/csr-old");
    let approved = |since| State::Approved {
        since,
        by: ApprovedBy::Warden,
    };
    assert_eq!(of_request(ago(900), approved(ago(60))), []);
    assert_eq!(
        of_request(ago(900), approved(ago(61))),
        [Code::SignerSilent]
    );
    assert_eq!(of_request(ago(900), State::Denied), []);
    let failed = State::Failed { why: "x".into() };
    assert_eq!(of_request(ago(900), failed), [Code::SignerRefuses]);
    let by = ApprovedBy::Other("kubectl".into());
    assert_eq!(
        of_request(ago(900), State::Issued { by }),
        [Code::ApprovedByOthers]
    );
    assert_eq!(
        found(|facts| facts.controller_manager = Ok(Some(Lease {
            renewed: Some(ago(31)),
            ..lease()
        }))),
        [Code::ControllerManagerSilent]
    );
    assert_eq!(found(|facts| facts.controller_manager = Ok(None)), []);
}

#[test]
fn csr_warden_runs_or_is_reported() {
    let stale = Lease {
        renewed: Some(ago(31)),
        ..lease()
    };
    let free = Lease {
        holder: None,
        ..lease()
    };
    for lease in [Some(stale), Some(free), None] {
        assert_eq!(
            found(|facts| facts.warden = Ok(lease)),
            [Code::WardenSilent]
        );
    }
    assert_eq!(
        found(|facts| {
            facts.warden = Ok(None);
            facts.workloads = Ok(Vec::new());
        }),
        [Code::WardenAbsent]
    );
    // Neither needs the Lease.
    for arg in ["--leader-elect=false", "--enforcement=DryRun"] {
        let without_lease = workload("csr-warden", "csr-warden:1", &["run", arg]);
        assert_eq!(
            found(|facts| {
                facts.warden = Ok(None);
                facts.workloads = Ok(vec![without_lease]);
            }),
            [],
            "{arg}"
        );
    }
}

/// A canary does not hide that production is silent.
#[test]
fn a_canary_is_not_taken_for_production() {
    let mut canary = workload(
        "canary-csr-warden",
        "csr-warden:1",
        &["run", "--enforcement=DryRun"],
    );
    canary.label = Some("csr-warden".into());
    let production = workload("csr-warden", "csr-warden:1", &["run"]);
    assert_eq!(
        found(|facts| {
            facts.warden = Ok(None);
            facts.workloads = Ok(vec![canary, production]);
        }),
        [Code::WardenSilent]
    );
}

/// The chart names the Lease after its release.
#[test]
fn the_lease_is_the_one_of_the_deployment() {
    let of = |args: &[&str]| {
        let workload = workload("canary-csr-warden", "csr-warden:1", args);
        workload.lease_name().to_owned()
    };
    assert_eq!(of(&["run"]), "csr-warden");
    assert_eq!(of(&["run", "--lease-name=canary"]), "canary");
}

#[test]
fn other_approvers() {
    let runs = |one: Workload| found(|facts| facts.workloads.as_mut().unwrap().push(one));
    for image in [
        "ghcr.io/postfinance/kubelet-csr-approver:v1.2.3",
        "kubelet-serving-cert-approver@sha256:ab",
        "registry:5000/rubber-stamp",
    ] {
        assert_eq!(
            runs(workload("x", image, &[])),
            [Code::OtherApprover],
            "{image}"
        );
    }
    let mut asleep = workload("kubelet-csr-approver", "x", &[]);
    asleep.desired = 0;
    assert_eq!(runs(asleep), []);
    let may = |subject: &str, administrator| {
        found(|facts| {
            facts.approvers.as_mut().unwrap().push(Approver {
                subject: subject.into(),
                administrator,
                bindings: ["b".to_owned()].into(),
            });
        })
    };
    assert_eq!(may("Group ops", false), [Code::MayApprove]);
    assert_eq!(may("Group ops", true), []);
    let mut facts = healthy();
    facts.approvers = Ok(Vec::new());
    let told = report(&facts, Ok(approved()));
    assert_eq!(told.codes(), []);
    assert!(told.checks.iter().all(|checked| checked.observed.is_some()));
    // The name alone proves nothing: anyone who can create a ServiceAccount in a namespace can take
    // it.
    assert_eq!(
        may("ServiceAccount tenant/csr-warden", false),
        [Code::MayApprove]
    );
}
