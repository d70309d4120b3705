//! Check of csr-warden itself: it is installed and leads.

use super::not_known;
use super::signer::{is_renewed, since};
use crate::doctor::facts::{Facts, Lease, Workload};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

pub(super) fn warden(facts: &Facts) -> Checked {
    let now = facts.now;
    let ours = Workload::of_csr_warden(&facts.workloads);
    let mut findings = Vec::new();
    let mut seen = None;
    match (&facts.warden, ours) {
        (Ok(Some(lease)), _) if is_renewed(lease, now) => {
            let holder = lease.holder.as_deref().unwrap_or_default();
            // The rest of the identity distinguishes processes.
            let host = holder.split('_').next().unwrap_or(holder);
            seen = Some(format!("Lease held by {host}"));
        }
        (Ok(_), Some(ours)) if ours.ready > 0 && is_unelected(ours) => {
            seen = Some(format!(
                "{} runs, without leader election",
                ours.display_name()
            ));
        }
        (Ok(_), Some(ours)) if ours.ready > 0 && ours.is_dry_run() => {
            seen = Some(format!(
                "{} runs with enforcement DryRun, and decides nothing",
                ours.display_name()
            ));
        }
        (Ok(Some(lease)), ours) => {
            let name = ours.map_or("csr-warden", Workload::lease_name);
            let what = match &lease.holder {
                Some(_) => format!(
                    "the Lease {}/{name} has not been renewed {}",
                    lease.namespace,
                    since(lease, now)
                ),
                None => format!("the Lease {}/{name} has no holder", lease.namespace),
            };
            findings.push(with_log_commands(
                Finding::new(Code::WardenSilent, what),
                Some(lease),
                ours,
            ));
        }
        (Ok(None), Some(ours)) => {
            let what = format!(
                "{} exists, with {} of {} replicas ready, but Lease {} does not",
                ours.display_name(),
                ours.ready,
                ours.desired,
                ours.lease_name()
            );
            findings.push(with_log_commands(
                Finding::new(Code::WardenSilent, what),
                None,
                Some(ours),
            ));
        }
        (Ok(None), None) if facts.workloads.is_ok() => findings.push(
            Finding::new(
                Code::WardenAbsent,
                "found neither a Deployment nor a Lease of csr-warden",
            )
            .fix("# with a kustomization.yaml as the README has it (Install it)")
            .fix("kubectl apply --server-side -k ."),
        ),
        (Ok(None), None) => {}
        (Err(why), _) => findings.push(not_known(why, "whether csr-warden leads")),
    }
    if let Err(why) = &facts.workloads {
        findings.push(not_known(why, "whether csr-warden is installed"));
    }
    Checked::new(Check::Warden, seen, findings)
}

fn is_unelected(workload: &Workload) -> bool {
    let args = workload.containers.iter().flat_map(|one| &one.args);
    args.into_iter().any(|arg| arg == "--leader-elect=false")
}

fn with_log_commands(finding: Finding, lease: Option<&Lease>, ours: Option<&Workload>) -> Finding {
    let of_lease = lease.map_or("kube-system", |lease| lease.namespace.as_str());
    let namespace = ours.map_or(of_lease, |ours| ours.namespace.as_str());
    let name = ours.map_or("csr-warden", |ours| ours.name.as_str());
    finding
        .fix(format!("kubectl describe -n {namespace} deployment/{name}"))
        .fix(format!("kubectl logs -n {namespace} deployment/{name}"))
        .fix(format!(
            "kubectl rollout restart -n {namespace} deployment/{name}"
        ))
}
