//! Check of the certificates that kubelets present.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::kubelet_configuration::enable_bootstrap;
use super::{count, format_age, not_known};
use crate::doctor::facts::{Certificate, DialResult, Facts, Kubelet, Proxied, SignedBy};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};
use judge::csr::NODE_USER_PREFIX;
use judge::csr::names::San;

const REQUESTS: &str = "kubectl get csr \\\n  \
                        --field-selector=spec.signerName=kubernetes.io/kubelet-serving";
/// Upper limit of the warning before expiry. A tenth of a validity of years would be too early.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Maximum number of names in one detail. A kubelet can present a certificate with any number.
const MAX_NAMED: usize = 8;
const RESTART: &str = "# on each of these nodes\nsystemctl restart kubelet";

pub(super) fn kubelet_certificates(facts: &Facts) -> Checked {
    let total = match &facts.nodes {
        Ok(nodes) => nodes.len(),
        Err(why) => {
            let finding = not_known(why, "which kubelets exist");
            return Checked::new(Check::Kubelets, None, vec![finding]);
        }
    };
    if total == 0 {
        let finding = Finding::new(Code::NoNodes, "there is no Node").fix("kubectl get nodes");
        return Checked::new(Check::Kubelets, None, vec![finding]);
    }
    if facts.kubelets.is_empty() {
        let what = "cannot determine which certificates kubelets present: none was checked";
        let finding = Finding::new(Code::ReadFailed, what).fix("csr-warden doctor");
        return Checked::new(Check::Kubelets, None, vec![finding]);
    }
    let now = facts.now;
    let mut found: BTreeMap<Code, Vec<(String, String)>> = BTreeMap::new();
    let mut verified = 0;
    for kubelet in &facts.kubelets {
        let wrong = check_kubelet(kubelet, now);
        verified += usize::from(wrong.is_empty());
        for (code, detail) in wrong {
            let entry = (kubelet.node.clone(), detail);
            found.entry(code).or_default().push(entry);
        }
    }
    let checked = facts.kubelets.len();
    let has_map = matches!(facts.kubelet_config, Ok(Some(_)));
    let findings = found
        .into_iter()
        .map(|(code, nodes)| finding(code, &nodes, checked, has_map))
        .collect();
    let sample = if checked < total {
        format!(" (of {total})")
    } else {
        String::new()
    };
    let seen = (verified > 0).then(|| format!("{verified} of {checked}{sample} can be verified"));
    Checked::new(Check::Kubelets, seen, findings)
}

/// Problems of one kubelet, each with a detail.
fn check_kubelet(kubelet: &Kubelet, now: Timestamp) -> Vec<(Code, String)> {
    let mut wrong = match (&kubelet.dialed, &kubelet.proxied) {
        (DialResult::Certificate(certificate), _) => {
            check_certificate(&kubelet.node, certificate, now)
        }
        (DialResult::NoCertificate, _) | (DialResult::Failed(_), Proxied::NoCertificate) => {
            vec![(Code::KubeletNoCertificate, String::new())]
        }
        (DialResult::Failed(_), Proxied::NotTrusted(_)) => Vec::new(),
        (
            DialResult::Failed(why),
            Proxied::Bootstrap(_) | Proxied::Forbidden(_) | Proxied::Failed(_),
        ) => vec![(Code::KubeletUnreachable, why.clone())],
    };
    // A problem of the certificate explains why it is not trusted.
    if let (true, Proxied::NotTrusted(why)) = (wrong.is_empty(), &kubelet.proxied) {
        wrong.push((Code::KubeletNotTrusted, why.clone()));
    }
    wrong
}

fn check_certificate(node: &str, certificate: &Certificate, now: Timestamp) -> Vec<(Code, String)> {
    let mut wrong = Vec::new();
    match &certificate.signed_by {
        SignedBy::Cluster => {}
        // The names and times of a self-signed certificate prove nothing.
        SignedBy::Itself => return vec![(Code::KubeletSelfSigned, String::new())],
        SignedBy::Other(issuer) => {
            wrong.push((Code::KubeletOtherAuthority, format!("by {issuer}")));
        }
    }
    let owner = certificate.common_name.strip_prefix(NODE_USER_PREFIX);
    if let Some(owner) = owner.filter(|owner| *owner != node) {
        wrong.push((Code::KubeletOfAnother, format!("it is {owner}'s")));
    }
    let left = certificate.not_after.duration_since(now);
    let whole = certificate.not_after.duration_since(certificate.not_before);
    if !left.is_positive() {
        let since = format!("{} ago", format_age(left.abs()));
        wrong.push((Code::KubeletCertificateExpired, since));
    } else if left < (whole / 10).min(SOON) {
        let left = format!("in {}", format_age(left));
        wrong.push((Code::KubeletCertificateExpiresSoon, left));
    }
    let dialed = San::Ip(certificate.address);
    if !certificate.sans.contains(&dialed) {
        let names: Vec<String> = certificate.sans.iter().map(San::to_string).collect();
        let names = match names.split_at_checked(MAX_NAMED) {
            Some((first, more)) if !more.is_empty() => {
                format!("{} and {} more", first.join(", "), more.len())
            }
            _ if names.is_empty() => "no name at all".to_owned(),
            _ => names.join(", "),
        };
        let detail = format!("{} is not in it, but {names}", certificate.address);
        wrong.push((Code::KubeletWrongNames, detail));
    }
    wrong
}

fn finding(code: Code, nodes: &[(String, String)], checked: usize, has_map: bool) -> Finding {
    let (one, many) = phrase(code);
    let verb = if nodes.len() == 1 { one } else { many };
    let kubelets = count(checked, "kubelet", "kubelets");
    let mut what = format!("{} of {kubelets} {verb}", nodes.len());
    if let Some((node, detail)) = nodes.iter().find(|(_, detail)| !detail.is_empty()) {
        what = format!("{what} ({node}: {detail})");
    }
    let finding = Finding::new(code, what).about(nodes.iter().map(|(node, _)| node.clone()));
    with_fixes(finding, has_map)
}

// No other code is found here.
#[allow(clippy::wildcard_enum_match_arm)]
fn phrase(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::KubeletNoCertificate => ("has no serving certificate", "have no serving certificate"),
        Code::KubeletSelfSigned => (
            "shows a certificate that it has signed itself",
            "show certificates that they have signed themselves",
        ),
        Code::KubeletOtherAuthority => (
            "shows a certificate that the cluster's CA has not signed",
            "show certificates that the cluster's CA has not signed",
        ),
        Code::KubeletCertificateExpired => (
            "shows a certificate that has expired",
            "show certificates that have expired",
        ),
        Code::KubeletCertificateExpiresSoon => (
            "shows a certificate that expires soon",
            "show certificates that expire soon",
        ),
        Code::KubeletWrongNames => (
            "shows a certificate without its address",
            "show certificates without their addresses",
        ),
        Code::KubeletOfAnother => (
            "shows a certificate of another node",
            "show certificates of other nodes",
        ),
        Code::KubeletNotTrusted => (
            "is not trusted by the API server",
            "are not trusted by the API server",
        ),
        _ => ("cannot be reached from here", "cannot be reached from here"),
    }
}

// No other code is found here.
#[allow(clippy::wildcard_enum_match_arm)]
fn with_fixes(finding: Finding, has_map: bool) -> Finding {
    match finding.code {
        Code::KubeletSelfSigned => finding.fix(enable_bootstrap(has_map)),
        Code::KubeletNoCertificate => finding
            .fix(format!("# is there a request, and what is its state?\n{REQUESTS}"))
            .fix("# if no request exists, on each of these nodes\nsystemctl restart kubelet"),
        Code::KubeletOtherAuthority => finding
            .fix("# if kubelets have a CA of their own\ncsr-warden doctor --kubelet-certificate-authority=FILE"),
        Code::KubeletCertificateExpired | Code::KubeletCertificateExpiresSoon => finding
            .fix(format!("# the state of the next request\n{REQUESTS}"))
            .fix(RESTART),
        Code::KubeletWrongNames => finding
            .fix("kubectl get nodes -o wide")
            .fix(
                "# on each of these nodes: the next certificate has the Node's addresses\n\
                 rm /var/lib/kubelet/pki/kubelet-server-current.pem\nsystemctl restart kubelet",
            ),
        Code::KubeletOfAnother => finding
            .fix("# which nodes have one address?\nkubectl get nodes -o wide"),
        Code::KubeletNotTrusted => finding.fix(
            "# on each control plane node: the CA that the API server trusts\n\
             grep kubelet-certificate-authority \\\n  \
             /etc/kubernetes/manifests/kube-apiserver.yaml",
        ),
        _ => finding.fix("# from where the nodes can be reached\ncsr-warden doctor"),
    }
}
