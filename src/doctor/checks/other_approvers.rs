//! Check of other approvers: known programs, and the authors of past approvals.

use std::collections::BTreeMap;

use super::distribution::is_approver;
use super::{count, not_known};
use crate::doctor::facts::{ApprovedBy, Facts, State, Workload};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

pub(super) fn other_approvers(facts: &Facts) -> Checked {
    let mut findings = Vec::new();
    match &facts.workloads {
        Err(why) => findings.push(not_known(why, "which other approvers run")),
        Ok(workloads) => findings.extend(
            workloads
                .iter()
                .filter(|workload| workload.desired > 0 && is_approver(workload))
                .map(running),
        ),
    }
    let mut ours = 0;
    match &facts.requests {
        Err(why) => findings.push(not_known(why, "who has approved requests")),
        Ok(requests) => {
            let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for request in requests {
                match &request.state {
                    State::Issued { by } | State::Approved { by, .. } => match by {
                        ApprovedBy::Warden => ours += 1,
                        ApprovedBy::Other(who) => {
                            others.entry(who).or_default().push(request.name.clone());
                        }
                    },
                    State::Pending | State::Denied | State::Failed { .. } => {}
                }
            }
            findings.extend(by_others(others));
        }
    }
    let seen = match ours {
        0 => findings.is_empty().then(|| "none is seen".to_owned()),
        ours => Some(format!(
            "csr-warden approved {}",
            count(ours, "request", "requests")
        )),
    };
    Checked::new(Check::Approvers, seen, findings)
}

fn running(workload: &Workload) -> Finding {
    let Workload {
        kind,
        namespace,
        name,
        ..
    } = workload;
    let what = format!(
        "the {kind} {} approves requests too",
        workload.display_name()
    );
    let stop = if *kind == "daemonset" {
        format!("kubectl delete -n {namespace} {kind}/{name}")
    } else {
        format!("kubectl scale -n {namespace} {kind}/{name} --replicas=0")
    };
    Finding::new(Code::OtherApprover, what)
        .about([workload.display_name()])
        .fix(stop)
}

fn by_others(others: BTreeMap<&str, Vec<String>>) -> Option<Finding> {
    if others.is_empty() {
        return None;
    }
    let who: Vec<&str> = others.keys().copied().collect();
    let requests: Vec<String> = others.values().flatten().cloned().collect();
    let what = format!(
        "{} by {}",
        count(
            requests.len(),
            "request was approved",
            "requests were approved"
        ),
        who.join(", ")
    );
    Some(
        Finding::new(Code::ApprovedByOthers, what)
            .about(requests)
            .fix("# which of them would be refused today\ncsr-warden audit"),
    )
}
