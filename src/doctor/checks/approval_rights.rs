//! Check of the subjects that may approve requests by RBAC.

use super::{count, not_known};
use crate::doctor::facts::{Approver, Facts};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

pub(super) fn approval_rights(facts: &Facts) -> Checked {
    let approvers = match &facts.approvers {
        Ok(approvers) => approvers,
        Err(why) => {
            let finding = not_known(why, "who may approve");
            return Checked::new(Check::Rights, None, vec![finding]);
        }
    };
    let workloads = facts.workloads.iter().flatten();
    let mut namespaces: Vec<&str> = workloads
        .filter(|workload| workload.is_csr_warden())
        .map(|workload| workload.namespace.as_str())
        .collect();
    namespaces.push("kube-system");
    let is_csr_warden = |approver: &Approver| {
        let mut names = namespaces.iter();
        names.any(|namespace| approver.subject == format!("ServiceAccount {namespace}/csr-warden"))
    };
    let ours = approvers.iter().any(is_csr_warden);
    let administrators = approvers.iter().filter(|one| one.administrator).count();
    let others: Vec<&Approver> = approvers
        .iter()
        .filter(|approver| !is_csr_warden(approver) && !approver.administrator)
        .collect();
    let mut seen = Vec::new();
    if ours {
        seen.push("csr-warden".to_owned());
    }
    if administrators > 0 {
        seen.push(format!("who is bound to cluster-admin ({administrators})"));
    }
    // Authorizers other than RBAC do not list their subjects.
    if seen.is_empty() && others.is_empty() {
        seen.push("no subject by RBAC".to_owned());
    }
    let seen = (!seen.is_empty()).then(|| seen.join(", "));
    if others.is_empty() {
        return Checked::new(Check::Rights, seen, Vec::new());
    }
    let what = format!(
        "{} kubelets' requests",
        count(others.len(), "other may approve", "others may approve")
    );
    let bindings: std::collections::BTreeSet<&String> =
        others.iter().flat_map(|one| &one.bindings).collect();
    let mut finding = Finding::new(Code::MayApprove, what)
        .about(others.iter().map(|one| one.subject.clone()))
        .fix("# bindings that need not approve; first check what else they grant");
    for binding in bindings {
        finding = finding.fix(format!("kubectl delete clusterrolebinding {binding}"));
    }
    Checked::new(Check::Rights, seen, vec![finding])
}
