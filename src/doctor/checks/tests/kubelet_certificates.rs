//! Findings on the certificates and the configuration of kubelets.

use super::super::report;
use super::{ago, approved, certificate, found, healthy, of_kubelet, presents};
use crate::doctor::facts::{Certificate, DialResult, Kubelet, Proxied, SignedBy};
use crate::doctor::finding_code::Code;
use judge::csr::names::San;

fn of_certificate(change: impl FnOnce(&mut Certificate)) -> Vec<Code> {
    let mut certificate = certificate();
    change(&mut certificate);
    of_kubelet(presents(certificate), Proxied::Bootstrap(true))
}

#[test]
fn presented_certificates() {
    assert_eq!(
        of_certificate(|shown| shown.signed_by = SignedBy::Other("CN=x".into())),
        [Code::KubeletOtherAuthority]
    );
    assert_eq!(
        of_certificate(|shown| shown.not_after = ago(0)),
        [Code::KubeletCertificateExpired]
    );
    // A tenth of a thousand seconds.
    assert_eq!(
        of_certificate(|shown| (shown.not_before, shown.not_after) = (ago(901), ago(-99))),
        [Code::KubeletCertificateExpiresSoon]
    );
    assert_eq!(
        of_certificate(|shown| (shown.not_before, shown.not_after) = (ago(899), ago(-101))),
        []
    );
    // A tenth of ten years is a year; the limit is a month.
    let (day, years) = (86_400, 9 * 365 * 86_400);
    assert_eq!(
        of_certificate(|shown| {
            (shown.not_before, shown.not_after) = (ago(years), ago(-31 * day));
        }),
        []
    );
    assert_eq!(
        of_certificate(|shown| {
            (shown.not_before, shown.not_after) = (ago(years), ago(-29 * day));
        }),
        [Code::KubeletCertificateExpiresSoon]
    );
    assert_eq!(
        of_certificate(|shown| shown.sans.clear()),
        [Code::KubeletWrongNames]
    );
    assert_eq!(
        of_certificate(|shown| shown.common_name = "system:node:n2".into()),
        [Code::KubeletOfAnother]
    );
    let all_at_once = of_certificate(|shown| {
        shown.sans.clear();
        shown.not_after = ago(1);
    });
    assert_eq!(
        all_at_once,
        [Code::KubeletCertificateExpired, Code::KubeletWrongNames]
    );
    assert_eq!(
        of_kubelet(DialResult::NoCertificate, Proxied::NoCertificate),
        [Code::KubeletNoCertificate]
    );
}

/// A kubelet can present a certificate with any number of names.
#[test]
fn few_names_of_a_certificate_are_shown() {
    let mut shown = certificate();
    let names = 1..=20;
    shown.sans = names
        .filter_map(|last| San::from_ip_text(&format!("10.9.9.{last}")))
        .collect();
    let mut facts = healthy();
    facts.kubelets = vec![Kubelet {
        node: "n1".into(),
        dialed: presents(shown),
        proxied: Proxied::Bootstrap(true),
    }];
    let report = report(&facts, Ok(approved()));
    let mut findings = report.checks.iter().flat_map(|checked| &checked.findings);
    let wrong = findings.find(|finding| finding.code == Code::KubeletWrongNames);
    let summary = &wrong.unwrap().summary;
    assert!(summary.contains("and 12 more"), "{summary}");
}

#[test]
fn proxied_answers_replace_unreachable_ports() {
    let closed = || DialResult::Failed("timed out".into());
    assert_eq!(
        of_kubelet(closed(), Proxied::NoCertificate),
        [Code::KubeletNoCertificate]
    );
    assert_eq!(
        of_kubelet(closed(), Proxied::NotTrusted("x509: …".into())),
        [Code::KubeletNotTrusted]
    );
    assert_eq!(
        of_kubelet(closed(), Proxied::Bootstrap(true)),
        [Code::KubeletUnreachable]
    );
    assert_eq!(
        of_kubelet(
            presents(certificate()),
            Proxied::NotTrusted("x509: …".into())
        ),
        [Code::KubeletNotTrusted]
    );
}

#[test]
fn without_kubelets_nothing_is_verified() {
    assert_eq!(
        found(|facts| {
            facts.nodes = Ok(Vec::new());
            facts.kubelets = Vec::new();
        }),
        // Then the Pods of API servers are unknown.
        [Code::NoNodes, Code::ApiServerUnseen]
    );
    // A check that looked at nothing reports nothing as right.
    assert_eq!(
        found(|facts| facts.kubelets = Vec::new()),
        [Code::ReadFailed]
    );
}

#[test]
fn kubelet_configurations() {
    let map = |text: &str| found(|facts| facts.kubelet_config = Ok(Some(text.into())));
    assert_eq!(map("a: b\n"), [Code::BootstrapOff]);
    assert_eq!(map("serverTLSBootstrap: false\n"), [Code::BootstrapOff]);
    for wrong in [
        "serverTLSBoostrap",
        "serverTLSbootstrap",
        "serverTlsBootstrap",
        "serverTLSBootsrap",
        "serverTLSBootStrapp",
        "ServerTLSBootstrap",
    ] {
        assert_eq!(
            map(&format!("{wrong}: true\n")),
            [Code::BootstrapMisspelled]
        );
    }
    // Other valid keys of a kubelet's configuration are not misspellings.
    for other in ["serverTLSMinVersion", "tlsCertFile", "serializeImagePulls"] {
        assert_eq!(
            map(&format!("{other}: true\n")),
            [Code::BootstrapOff],
            "{other}"
        );
    }
    for wrong in ["serverTLSBootstrap: \"true\"\n", "{", "- a\n", ""] {
        assert_eq!(map(wrong), [Code::KubeletConfigUnreadable], "{wrong}");
    }
    assert_eq!(
        found(|facts| facts.kubelet_config = Ok(None)),
        [Code::KubeletConfigAbsent]
    );
    assert_eq!(
        of_kubelet(presents(certificate()), Proxied::Bootstrap(false)),
        [Code::KubeletBootstrapOff]
    );
    assert_eq!(
        of_kubelet(presents(certificate()), Proxied::Forbidden("no".into())),
        [Code::KubeletConfigUnseen]
    );
}

/// The key becomes part of a command that people paste into a shell.
#[test]
fn a_key_with_a_quote_is_not_in_a_command() {
    let mut facts = healthy();
    facts.kubelet_config = Ok(Some("\"serverTLS';Bootstrap\": true\n".into()));
    let report = report(&facts, Ok(approved()));
    assert_eq!(report.codes(), [Code::BootstrapMisspelled]);
    let mut findings = report.checks.iter().flat_map(|checked| &checked.findings);
    assert!(findings.all(|finding| !finding.remedy.concat().contains("';")));
}
