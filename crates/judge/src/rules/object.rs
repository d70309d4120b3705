//! Rows 1 to 17 and 68: the API object of the request, without its encoded bytes.

use super::Case;
use crate::csr::names::is_dns_subdomain;
use crate::csr::{KUBELET_SERVING_SIGNER, NODES_GROUP, Settled};
use crate::finding::{Code, Effect, Findings, escaped};
use crate::policy::{AUTHENTICATED_GROUP, AllowOrDeny, IgnoreOrDeny, Requirement, can_be_allowed};

/// Prefix of the credential ID of a client certificate (apiserver `x509.go`).
const CERTIFICATE_CREDENTIAL: &str = "X509SHA256=";
const REQUIRED_USAGES: [&str; 2] = ["digital signature", "server auth"];
/// Usage of RSA keys, and of ECDSA keys from kubelets before 1.27.
const OPTIONAL_USAGE: &str = "key encipherment";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let object = &case.request.object;
    if *object.signer != *KUBELET_SERVING_SIGNER {
        let detail = format!(
            "expected signer `{KUBELET_SERVING_SIGNER}`, found `{}`",
            escaped(object.signer.as_bytes())
        );
        findings.add(Code::SignerOther, detail);
        return;
    }
    if let Some(settled) = object.settled {
        let how = match settled {
            Settled::Approved => "approved",
            Settled::Denied => "denied",
            Settled::Failed => "failed",
            Settled::Issued => "issued",
        };
        findings.add(
            Code::RequestSettled,
            format!("the request is already {how}"),
        );
    }
    if object.terminating {
        findings.add(Code::RequestTerminating, "the request is being deleted");
    }
    let age = case.now.age_of(case.request);
    if age > case.policy.spec.request.max_age {
        let detail = format!(
            "expected an age of at most {:#}, found {} s",
            case.policy.spec.request.max_age,
            age.as_secs()
        );
        findings.add(Code::RequestStale, detail);
    }
    check_name(case, findings);
    check_requestor(case, findings);
    check_usages(case, findings);
    check_expiration(case, findings);
}

/// Kubernetes accepts any name of a request without `/` and `%`. A kubelet lets the API server
/// generate one, which is a DNS-1123 subdomain.
fn check_name(case: &Case<'_>, findings: &mut Findings) {
    let name = &case.request.object.name;
    if !is_dns_subdomain(name) {
        let detail = format!(
            "expected a DNS-1123 subdomain as the request's name, found `{}`",
            escaped(name.as_bytes())
        );
        findings.add(Code::RequestNameInvalid, detail);
    }
}

fn check_requestor(case: &Case<'_>, findings: &mut Findings) {
    let requestor = &case.request.object.requestor;
    let policy = &case.policy.spec.requestor;
    let Some(node) = requestor.node_part() else {
        let effect = match policy.others {
            IgnoreOrDeny::Deny => Effect::Deny,
            IgnoreOrDeny::Ignore => Effect::Ignore,
        };
        let detail = format!(
            "expected a requestor `system:node:<name>`, found `{}`",
            escaped(requestor.username.as_bytes())
        );
        findings.add_with(Code::RequestorNotNode, effect, detail);
        return;
    };
    if case.requestor.is_none() {
        let detail = format!(
            "expected a DNS-1123 subdomain after `system:node:`, found `{}`",
            escaped(node.as_bytes())
        );
        findings.add(Code::NodeNameInvalid, detail);
    }
    let in_group = |name: &str| requestor.groups.iter().any(|group| group == name);
    if !in_group(NODES_GROUP) {
        let detail = format!("expected the requestor in group `{NODES_GROUP}`");
        findings.add(Code::GroupNodesMissing, detail);
    }
    if !in_group(AUTHENTICATED_GROUP) {
        let detail = format!("expected the requestor in group `{AUTHENTICATED_GROUP}`");
        findings.add(Code::GroupAuthenticatedMissing, detail);
    }
    for group in requestor.groups.iter() {
        let is_expected = group == NODES_GROUP || group == AUTHENTICATED_GROUP;
        if !is_expected && !policy.groups.contains(group) {
            let unless = if can_be_allowed(group) {
                ", unless requestor.groups of the policy lists it"
            } else {
                ""
            };
            let detail = format!("expected no group `{}`{unless}", escaped(group.as_bytes()));
            findings.add(Code::GroupsExtra, detail);
        }
    }
    let with_certificate = || {
        let ids = &requestor.credential_ids;
        !ids.is_empty() && ids.iter().all(|id| id.starts_with(CERTIFICATE_CREDENTIAL))
    };
    if policy.credential_id == Requirement::Required && !with_certificate() {
        let detail = "expected a credential ID of a client certificate in `spec.extra`";
        findings.add(Code::CredentialIdMissing, detail);
    }
    if policy.uid == AllowOrDeny::Deny && !requestor.uid.is_empty() {
        let detail = format!(
            "expected no UID, found `{}`",
            escaped(requestor.uid.as_bytes())
        );
        findings.add(Code::RequestorUidSet, detail);
    }
}

fn check_usages(case: &Case<'_>, findings: &mut Findings) {
    let usages = &case.request.object.usages;
    for (index, usage) in usages.iter().enumerate() {
        let known = REQUIRED_USAGES.contains(&usage.as_str()) || usage == OPTIONAL_USAGE;
        let repeated = usages.iter().take(index).any(|earlier| earlier == usage);
        if !known || repeated {
            let how = if repeated { " twice" } else { "" };
            let detail = format!("expected no usage `{}`{how}", escaped(usage.as_bytes()));
            findings.add(Code::UsageExtra, detail);
        }
    }
    for demanded in REQUIRED_USAGES {
        if !usages.iter().any(|usage| usage == demanded) {
            findings.add(Code::UsageMissing, format!("expected usage `{demanded}`"));
        }
    }
}

fn check_expiration(case: &Case<'_>, findings: &mut Findings) {
    let ceiling = case.policy.spec.request.max_expiration.as_secs();
    if let Some(seconds) = case.request.object.expiration_seconds
        && i64::from(seconds) > ceiling
    {
        let detail = format!("expected at most {ceiling} s, found {seconds} s");
        findings.add(Code::ExpirationTooLong, detail);
    }
}
