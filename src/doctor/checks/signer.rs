//! Checks of the signer and of pending requests: they are signed and approved in time.

use jiff::{SignedDuration, Timestamp};

use super::{count, format_age, not_known};
use crate::doctor::facts::{Facts, Lease, Request, State};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};
use crate::telemetry::printable::shell_word;

/// The signer takes less than a second for a request.
const SIGNED_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// An approver takes less than a second. A Node's address may take longer to appear.
const APPROVED_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Tolerance beyond the duration of a Lease.
const LATE: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn signer(facts: &Facts) -> Checked {
    let now = facts.now;
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    match &facts.controller_manager {
        Ok(None) => {}
        Ok(Some(lease)) if is_renewed(lease, now) => {
            seen.push("kube-controller-manager is alive".to_owned());
        }
        Ok(Some(lease)) => findings.push(
            Finding::new(
                Code::ControllerManagerSilent,
                format!(
                    "kube-controller-manager has not renewed its Lease {}",
                    since(lease, now)
                ),
            )
            .fix("kubectl get pods -n kube-system -l component=kube-controller-manager")
            .fix("kubectl logs -n kube-system -l component=kube-controller-manager --tail=-1"),
        ),
        Err(why) => findings.push(not_known(why, "whether kube-controller-manager is alive")),
    }
    match &facts.requests {
        Err(why) => findings.push(not_known(why, "whether approved requests are signed")),
        Ok(requests) => {
            let issued = requests
                .iter()
                .filter(|r| matches!(r.state, State::Issued { .. }));
            let issued = issued.count();
            if issued > 0 {
                seen.push(count(issued, "certificate issued", "certificates issued"));
            }
            findings.extend(unsigned(requests, now));
            findings.extend(refused(requests));
        }
    }
    if seen.is_empty() && findings.is_empty() {
        seen.push("no approved request waits for it".to_owned());
    }
    let seen = (!seen.is_empty()).then(|| seen.join(", "));
    Checked::new(Check::Signer, seen, findings)
}

fn unsigned(requests: &[Request], now: Timestamp) -> Option<Finding> {
    let mut oldest = SignedDuration::ZERO;
    let mut names = Vec::new();
    for request in requests {
        if let State::Approved { since, .. } = request.state {
            let age = now.duration_since(since);
            if age > SIGNED_WITHIN {
                oldest = oldest.max(age);
                names.push(request.name.clone());
            }
        }
    }
    if names.is_empty() {
        return None;
    }
    let what = format!(
        "{} without a certificate, the oldest for {}",
        count(names.len(), "approved request is", "approved requests are"),
        format_age(oldest)
    );
    Some(
        Finding::new(Code::SignerSilent, what)
            .about(names)
            .fix("# does it run, and has it --cluster-signing-cert-file and -key-file?")
            .fix("kubectl get pods -n kube-system -l component=kube-controller-manager")
            .fix("kubectl logs -n kube-system -l component=kube-controller-manager --tail=-1"),
    )
}

fn refused(requests: &[Request]) -> Option<Finding> {
    let failed: Vec<(&str, &str)> = requests
        .iter()
        .filter_map(|request| match &request.state {
            State::Failed { why } => Some((request.name.as_str(), why.as_str())),
            State::Pending | State::Denied | State::Approved { .. } | State::Issued { .. } => None,
        })
        .collect();
    let (first, why) = failed.first()?;
    let what = format!(
        "{} by the signer ({first}: {why})",
        count(
            failed.len(),
            "approved request was refused",
            "approved requests were refused"
        )
    );
    Some(
        Finding::new(Code::SignerRefuses, what)
            .fix(format!(
                "# who asked for it?\nkubectl describe {}",
                argument(first)
            ))
            .about(failed.iter().map(|(name, _)| (*name).to_owned())),
    )
}

pub(super) fn requests(facts: &Facts) -> Checked {
    let requests = match &facts.requests {
        Ok(requests) => requests,
        Err(why) => {
            let finding = not_known(why, "which requests wait");
            return Checked::new(Check::Requests, None, vec![finding]);
        }
    };
    let now = facts.now;
    // People decide on requests of other requestors, and may take their time.
    let waiting = |request: &&Request| request.of_node && request.state == State::Pending;
    let mut pending: Vec<&Request> = requests.iter().filter(waiting).collect();
    pending.sort_by_key(|request| request.created);
    let Some(oldest) = pending.first() else {
        let others = requests.iter().any(|one| one.state == State::Pending);
        let seen = if others {
            "none of a node waits"
        } else {
            "none waits"
        };
        return Checked::new(Check::Requests, Some(seen.into()), Vec::new());
    };
    let age = now.duration_since(oldest.created);
    let what = format!(
        "{}, the oldest for {}",
        count(pending.len(), "request waits", "requests wait"),
        format_age(age)
    );
    if age <= APPROVED_WITHIN {
        return Checked::new(Check::Requests, Some(what), Vec::new());
    }
    let finding = Finding::new(Code::RequestsPending, what)
        .fix("# what is asked for, and why it waits")
        .fix(format!("csr-warden explain {}", argument(&oldest.name)))
        .fix("kubectl logs -n kube-system deployment/csr-warden")
        .about(pending.iter().map(|request| request.name.clone()));
    Checked::new(Check::Requests, None, vec![finding])
}

/// The argument that names a request. It is one word, and no flag.
fn argument(name: &str) -> String {
    shell_word(&format!("csr/{name}")).into_owned()
}

/// Returns true if the Lease has a holder and was renewed in time.
pub(super) fn is_renewed(lease: &Lease, now: Timestamp) -> bool {
    let renewed = |renewed: Timestamp| now.duration_since(renewed) <= lease.duration + LATE;
    lease.holder.is_some() && lease.renewed.is_some_and(renewed)
}

/// Time since the last renewal, as part of a sentence.
pub(super) fn since(lease: &Lease, now: Timestamp) -> String {
    match lease.renewed {
        Some(renewed) => format!("for {}", format_age(now.duration_since(renewed))),
        None => "ever".to_owned(),
    }
}
