//! Facts made by hand, and what is concluded from them.

use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};

use super::report;
use crate::csr::names::San;
use crate::doctor::code::{Code, Severity};
use crate::doctor::facts::{
    ApiServer, ApprovedBy, Approver, Autoscaler, Certificate, Clock, Container, Dialled, Facts,
    Kubelet, Lease, Node, Proxied, Request, Restriction, SignedBy, State, Unread, Workload,
};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn now() -> Timestamp {
    "2026-07-24T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now()
        .checked_sub(SignedDuration::from_secs(seconds))
        .unwrap()
}

fn certificate() -> Certificate {
    Certificate {
        address: ADDRESS,
        common_name: "system:node:n1".into(),
        signed_by: SignedBy::Cluster,
        not_before: ago(100),
        not_after: ago(-900),
        sans: [San::Ip(ADDRESS)].into(),
    }
}

fn shows(certificate: Certificate) -> Dialled {
    Dialled::Certificate(Box::new(certificate))
}

fn lease() -> Lease {
    Lease {
        namespace: "kube-system".into(),
        holder: Some("csr-warden-x_1".into()),
        renewed: Some(ago(2)),
        lasts: SignedDuration::from_secs(15),
    }
}

fn workload(name: &str, image: &str, args: &[&str]) -> Workload {
    Workload {
        kind: "deployment",
        namespace: "kube-system".into(),
        name: name.into(),
        label: None,
        wanted: 1,
        ready: 1,
        containers: vec![Container {
            image: image.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }],
    }
}

fn asked(name: &str, created: Timestamp, state: State) -> Request {
    Request {
        name: name.into(),
        of_node: true,
        created,
        state,
    }
}

/// A cluster with one node in which all is well.
fn well() -> Facts {
    Facts {
        server: "https://10.0.0.9:6443/".into(),
        now: now(),
        clock: Ok(Clock {
            ahead: SignedDuration::ZERO,
            give_or_take: SignedDuration::from_millis(500),
        }),
        version: Ok("v1.36.2".into()),
        service_cidrs: Ok(true),
        nodes: Ok(vec![Node {
            name: "n1".into(),
            address: Some(ADDRESS),
            port: Some(10250),
        }]),
        kubelets: vec![Kubelet {
            node: "n1".into(),
            dialled: shows(certificate()),
            proxied: Proxied::Bootstrap(true),
        }],
        kubelet_config: Ok(Some("serverTLSBootstrap: true\n".into())),
        requests: Ok(vec![asked(
            "csr-1",
            ago(100),
            State::Issued {
                by: ApprovedBy::Warden,
            },
        )]),
        controller_manager: Ok(Some(lease())),
        warden: Ok(Some(lease())),
        workloads: Ok(vec![
            workload("csr-warden", "csr-warden:1", &[]),
            workload("metrics-server", "x/metrics-server:1", &["--v=2"]),
        ]),
        approvers: Ok(vec![Approver {
            subject: "ServiceAccount kube-system/csr-warden".into(),
            administrator: false,
            bindings: ["csr-warden".to_owned()].into(),
        }]),
        restriction: Restriction::Refused("is not allowed to modify node".into()),
        api_servers: Ok(vec![ApiServer {
            pod: "kube-apiserver-n0".into(),
            args: vec!["--kubelet-certificate-authority=/ca.crt".into()],
        }]),
        autoscalers: Ok(Vec::new()),
    }
}

/// What is found after one change to a cluster in which all is well.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Code> {
    let mut facts = well();
    change(&mut facts);
    report(&facts).codes()
}

fn of_kubelet(dialled: Dialled, proxied: Proxied) -> Vec<Code> {
    found(|facts| {
        facts.kubelets = vec![Kubelet {
            node: "n1".into(),
            dialled,
            proxied,
        }];
    })
}

fn of_certificate(change: impl FnOnce(&mut Certificate)) -> Vec<Code> {
    let mut certificate = certificate();
    change(&mut certificate);
    of_kubelet(shows(certificate), Proxied::Bootstrap(true))
}

fn of_request(created: Timestamp, state: State) -> Vec<Code> {
    found(|facts| facts.requests = Ok(vec![asked("csr-1", created, state)]))
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let report = report(&well());
    assert_eq!(report.codes(), []);
    assert_eq!(report.severity, Severity::Ok);
    for checked in report.checks {
        assert!(
            checked.seen.is_some(),
            "{:?} says what it saw",
            checked.check
        );
    }
}

#[test]
fn what_kubelets_show() {
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
    // Of ten years the tenth is one; a month counts.
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
        of_kubelet(Dialled::NoCertificate, Proxied::NoCertificate),
        [Code::KubeletNoCertificate]
    );
}

#[test]
fn the_api_server_sees_what_cannot_be_seen_from_here() {
    let closed = || Dialled::Failed("timed out".into());
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
        of_kubelet(shows(certificate()), Proxied::NotTrusted("x509: …".into())),
        [Code::KubeletNotTrusted]
    );
}

#[test]
fn whether_the_api_server_verifies_shows_in_what_it_does() {
    let hidden = |proxied: Proxied| {
        found(|facts| {
            facts.api_servers = Ok(Vec::new());
            let mut own = certificate();
            own.signed_by = SignedBy::Itself;
            facts.kubelets = vec![Kubelet {
                node: "n1".into(),
                dialled: shows(own),
                proxied,
            }];
        })
    };
    assert_eq!(
        hidden(Proxied::Bootstrap(true)),
        [Code::KubeletSelfSigned, Code::ApiServerDoesNotVerify]
    );
    assert_eq!(
        hidden(Proxied::NotTrusted("x509: …".into())),
        [Code::KubeletSelfSigned]
    );
    assert_eq!(
        found(|facts| facts.api_servers = Ok(Vec::new())),
        [Code::ApiServerUnseen]
    );
    assert_eq!(
        found(|facts| facts.api_servers.as_mut().unwrap()[0].args.clear()),
        [Code::ApiServerDoesNotVerify]
    );
}

#[test]
fn what_kubelets_are_told() {
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
    // Other keys of a kubelet are not near.
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
        of_kubelet(shows(certificate()), Proxied::Bootstrap(false)),
        [Code::KubeletBootstrapOff]
    );
    assert_eq!(
        of_kubelet(shows(certificate()), Proxied::Forbidden("no".into())),
        [Code::KubeletConfigUnseen]
    );
}

/// A key stands in a command that people paste into a shell.
#[test]
fn a_key_with_a_quote_is_in_no_command() {
    let mut facts = well();
    facts.kubelet_config = Ok(Some("\"serverTLS';Bootstrap\": true\n".into()));
    let report = report(&facts);
    assert_eq!(report.codes(), [Code::BootstrapMisspelled]);
    let mut findings = report.checks.iter().flat_map(|checked| &checked.findings);
    assert!(findings.all(|finding| !finding.mend.concat().contains("';")));
}

#[test]
fn requests_and_the_signer() {
    assert_eq!(of_request(ago(60), State::Pending), []);
    assert_eq!(of_request(ago(61), State::Pending), [Code::RequestsPending]);
    // The oldest one of a node is what people are sent to.
    let mut facts = well();
    let other = Request {
        of_node: false,
        ..asked("csr-other", ago(900), State::Pending)
    };
    facts.requests = Ok(vec![other]);
    assert_eq!(report(&facts).codes(), []);
    facts.requests.as_mut().unwrap().extend([
        asked("csr-new", ago(61), State::Pending),
        asked("csr-old", ago(90), State::Pending),
    ]);
    let told = report(&facts);
    let mut findings = told.checks.iter().flat_map(|checked| &checked.findings);
    let finding = findings.next().unwrap();
    assert_eq!(finding.objects, ["csr-old", "csr-new"]);
    assert_eq!(finding.mend[1], "csr-warden explain csr-old");
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
fn whether_csr_warden_runs() {
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
    let unelected = workload(
        "csr-warden",
        "csr-warden:1",
        &["run", "--leader-elect=false"],
    );
    assert_eq!(
        found(|facts| {
            facts.warden = Ok(None);
            facts.workloads = Ok(vec![unelected]);
        }),
        []
    );
}

#[test]
fn who_else_approves() {
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
    asleep.wanted = 0;
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
    let mut facts = well();
    facts.approvers = Ok(Vec::new());
    let told = report(&facts);
    assert_eq!(told.codes(), []);
    assert!(told.checks.iter().all(|checked| checked.seen.is_some()));
    // The name alone is nothing: anybody who has a namespace can take it.
    assert_eq!(
        may("ServiceAccount tenant/csr-warden", false),
        [Code::MayApprove]
    );
}

#[test]
fn the_rest() {
    assert_eq!(
        found(|facts| facts.service_cidrs = Ok(false)),
        [Code::ServerTooOld]
    );
    let skew = |seconds| {
        found(|facts| {
            facts.clock = Ok(Clock {
                ahead: SignedDuration::from_secs(seconds),
                give_or_take: SignedDuration::from_secs(1),
            });
        })
    };
    assert_eq!(skew(6), []);
    assert_eq!(skew(7), [Code::ClockSkew]);
    assert_eq!(skew(-7), [Code::ClockSkew]);
    assert_eq!(
        found(|facts| facts.restriction = Restriction::Accepted("n1".into())),
        [Code::NodeRestrictionOff]
    );
    assert_eq!(
        found(|facts| facts.restriction = Restriction::Untried("x".into())),
        [Code::NodeRestrictionUnknown]
    );
    assert_eq!(
        found(|facts| {
            facts.nodes = Ok(Vec::new());
            facts.kubelets = Vec::new();
        }),
        [Code::NoNodes]
    );
    // Whoever has looked at nothing has seen nothing that is right.
    assert_eq!(
        found(|facts| facts.kubelets = Vec::new()),
        [Code::ReadFailed]
    );
    for flag in ["--kubelet-insecure-tls", "--kubelet-insecure-tls=true"] {
        let careless = workload("m", "x/metrics-server:1", &[flag]);
        assert_eq!(
            found(|facts| facts.workloads.as_mut().unwrap().push(careless)),
            [Code::MetricsServerInsecure]
        );
    }
    let blind = Autoscaler {
        name: "default/web".into(),
        message: "x".into(),
    };
    assert_eq!(
        found(|facts| facts.autoscalers = Ok(vec![blind])),
        [Code::AutoscalerWithoutMetrics]
    );
}

/// What cannot be read is unknown, never wrong, and never well.
#[test]
fn without_any_right_nothing_is_wrong_and_nothing_is_well() {
    fn unread<T>() -> Result<T, Unread> {
        Err(Unread {
            verb: "list",
            resource: "deployments.apps",
            forbidden: true,
            why: "no".into(),
        })
    }
    let facts = Facts {
        clock: unread(),
        version: unread(),
        service_cidrs: unread(),
        nodes: unread(),
        kubelets: Vec::new(),
        kubelet_config: unread(),
        requests: unread(),
        controller_manager: unread(),
        warden: unread(),
        workloads: unread(),
        approvers: unread(),
        restriction: Restriction::Untried("no".into()),
        api_servers: unread(),
        autoscalers: unread(),
        ..well()
    };
    let report = report(&facts);
    for checked in &report.checks {
        assert_eq!(checked.severity, Severity::Unknown, "{:?}", checked.check);
        assert_eq!(checked.seen, None, "{:?}", checked.check);
    }
    assert_eq!(
        report.codes(),
        [Code::NodeRestrictionUnknown, Code::RightMissing]
    );
}
