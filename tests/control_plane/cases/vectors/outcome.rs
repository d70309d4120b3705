//! Comparison of a request's outcome with that of its vector.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use judge::Decision as Verdict;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::plan::Post;
use control_plane::decision_log::Decision;
use control_plane::node_user::{condition, has_no_conditions};

/// Returns true if the decision has been written and an approved request has its certificate.
pub fn is_done(verdict: &str, request: &CertificateSigningRequest) -> bool {
    match verdict {
        "Approve" => has_certificate(request) || condition(request, "Failed").is_some(),
        "Deny" => condition(request, "Denied").is_some(),
        _ => true,
    }
}

/// Checks that csr-warden's decision is that of the vector, and that the request has it. A request
/// for another signer gets none.
pub fn compare(
    post: &Post<'_>,
    decision: Option<&Decision>,
    request: &CertificateSigningRequest,
) -> Result<()> {
    let expected = post.expected;
    let codes: BTreeSet<&str> = expected.codes.iter().map(|code| code.as_str()).collect();
    if let Some(decision) = decision {
        let said: BTreeSet<&str> = decision.codes.iter().map(String::as_str).collect();
        ensure!(
            decision.verdict == expected.verdict.as_str() && said == codes,
            "found {} {said:?}",
            decision.verdict
        );
    } else {
        ensure!(
            codes.iter().eq(&["SignerOther"]),
            "csr-warden has said nothing"
        );
    }
    let status = request.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let is_the_only = |kind| conditions.len() == 1 && condition(request, kind).is_some();
    let is_shown = match expected.verdict {
        Verdict::Approve => is_the_only("Approved") && has_certificate(request),
        Verdict::Deny => is_the_only("Denied") && !has_certificate(request),
        Verdict::Wait | Verdict::Ignore => has_no_conditions(request),
    };
    ensure!(is_shown, "conditions {conditions:?}");
    if expected.verdict == Verdict::Deny {
        let denied = condition(request, "Denied").context("Denied")?;
        let reason = denied.reason.as_deref().unwrap_or_default();
        ensure!(codes.contains(reason), "reason {reason}");
    }
    Ok(())
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    status.is_some_and(|status| status.certificate.is_some())
}
