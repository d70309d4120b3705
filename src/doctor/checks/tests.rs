//! Findings for facts that are written by hand.

mod distribution;
mod kubelet_certificates;
mod metrics_server;
mod nodes;
mod requests;
mod version_and_clock;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{not_known, report};
use crate::cluster::clock::Offset;
use crate::doctor::facts::{
    ApiServer, ApprovedBy, Approver, Certificate, Container, DialResult, Facts, Kubelet, Lease,
    Node, NodeRestriction, Proxied, ReadFailure, Request, SignedBy, State, Workload,
};
use crate::doctor::finding_code::{Code, Severity};
use crate::doctor::node_verdicts::{NodeVerdict, NodeVerdicts};
use judge::csr::names::San;

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

fn presents(certificate: Certificate) -> DialResult {
    DialResult::Certificate(Box::new(certificate))
}

fn lease() -> Lease {
    Lease {
        namespace: "kube-system".into(),
        holder: Some("csr-warden-x_1".into()),
        renewed: Some(ago(2)),
        duration: SignedDuration::from_secs(15),
    }
}

fn workload(name: &str, image: &str, args: &[&str]) -> Workload {
    Workload {
        kind: "deployment",
        namespace: "kube-system".into(),
        name: name.into(),
        label: None,
        desired: 1,
        ready: 1,
        containers: vec![Container {
            image: image.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }],
    }
}

fn request(name: &str, created: Timestamp, state: State) -> Request {
    Request {
        name: name.into(),
        of_node: true,
        created,
        state,
    }
}

/// A healthy cluster with one node.
fn healthy() -> Facts {
    Facts {
        server: "https://10.0.0.9:6443/".into(),
        now: now(),
        clock: Ok(Offset {
            ahead: SignedDuration::ZERO,
            uncertainty: Duration::from_millis(500),
        }),
        version: Ok("v1.36.2".into()),
        api_groups: Ok(vec!["apps".into()]),
        config_maps: Ok(vec!["kubeadm-config"]),
        service_cidrs: Ok(true),
        service_networks: Vec::new(),
        nodes: Ok(vec![Node {
            name: "n1".into(),
            address: Some(ADDRESS),
            port: Some(10250),
            control_plane: true,
            sign_labels: Vec::new(),
            os_image: Some("Debian GNU/Linux 13 (trixie)".into()),
            provider_id: None,
        }]),
        kubelets: vec![Kubelet {
            node: "n1".into(),
            dialed: presents(certificate()),
            proxied: Proxied::Bootstrap(true),
        }],
        kubelet_config: Ok(Some("serverTLSBootstrap: true\n".into())),
        requests: Ok(vec![request(
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
        restriction: NodeRestriction::Refused("is not allowed to modify node".into()),
        api_servers: Ok(vec![ApiServer {
            node: "n1".into(),
            pod: "kube-apiserver-n0".into(),
            args: vec!["--kubelet-certificate-authority=/ca.crt".into()],
        }]),
        autoscalers: Ok(Vec::new()),
    }
}

/// The verdict on the Node of a healthy cluster.
fn approved() -> NodeVerdicts {
    NodeVerdicts {
        policy: "default".into(),
        items: vec![node_verdict("n1", Some("Approve"))],
        ..NodeVerdicts::default()
    }
}

fn node_verdict(node: &str, verdict: Option<&'static str>) -> NodeVerdict {
    NodeVerdict {
        node: node.into(),
        control_plane: false,
        verdict,
        not_sent: verdict
            .is_none()
            .then(|| "its Node has no IP address".into()),
        sans: Vec::new(),
        findings: Vec::new(),
        with_policy_lines: None,
    }
}

/// The codes that are found after one change to a healthy cluster.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Code> {
    let mut facts = healthy();
    change(&mut facts);
    report(&facts, Ok(approved())).codes()
}

fn of_kubelet(dialed: DialResult, proxied: Proxied) -> Vec<Code> {
    found(|facts| {
        facts.kubelets = vec![Kubelet {
            node: "n1".into(),
            dialed,
            proxied,
        }];
    })
}

#[test]
fn a_healthy_cluster_has_no_findings() {
    let report = report(&healthy(), Ok(approved()));
    assert_eq!(report.codes(), []);
    assert_eq!(report.severity, Severity::Ok);
    for checked in report.checks {
        assert!(
            checked.observed.is_some(),
            "{:?} says what it saw",
            checked.check
        );
    }
}

/// A fact that cannot be read is unknown: neither a problem nor healthy.
#[test]
fn without_permissions_everything_is_unknown() {
    fn read_failure<T>() -> Result<T, ReadFailure> {
        Err(ReadFailure {
            verb: "list",
            resource: "deployments.apps",
            namespace: None,
            name: None,
            forbidden: true,
            why: "no".into(),
        })
    }
    let facts = Facts {
        clock: read_failure(),
        version: read_failure(),
        api_groups: read_failure(),
        config_maps: read_failure(),
        service_cidrs: read_failure(),
        service_networks: Vec::new(),
        nodes: read_failure(),
        kubelets: Vec::new(),
        kubelet_config: read_failure(),
        requests: read_failure(),
        controller_manager: read_failure(),
        warden: read_failure(),
        workloads: read_failure(),
        approvers: read_failure(),
        restriction: NodeRestriction::NotTried("no".into()),
        api_servers: read_failure(),
        autoscalers: read_failure(),
        ..healthy()
    };
    let report = report(&facts, Err("no".into()));
    for checked in &report.checks {
        assert_eq!(checked.severity, Severity::Unknown, "{:?}", checked.check);
        assert_eq!(checked.observed, None, "{:?}", checked.check);
    }
    assert_eq!(
        report.codes(),
        [
            Code::EvidenceMissing,
            Code::NodeRestrictionUnknown,
            Code::RightMissing
        ]
    );
}

#[test]
fn a_failed_read_names_its_object_and_the_command_that_reads_it() {
    let failure = ReadFailure {
        verb: "get",
        resource: "configmaps",
        namespace: Some("kube-system".into()),
        name: Some("kubelet-config".into()),
        forbidden: false,
        why: "no answer within 5 s".into(),
    };
    let finding = not_known(&failure, "which configuration joining nodes get");
    assert_eq!(
        finding.summary,
        "cannot determine which configuration joining nodes get: cannot get configmaps kubelet-config in namespace \
         kube-system: no answer within 5 s"
    );
    assert_eq!(
        finding.remedy[0],
        "# the API server's own answer\nkubectl get configmaps kubelet-config --namespace kube-system"
    );
    let listed = ReadFailure {
        verb: "list",
        resource: "deployments.apps",
        namespace: None,
        name: None,
        ..failure
    };
    let finding = not_known(&listed, "which other approvers run");
    assert!(finding.remedy[0].ends_with("\nkubectl get deployments.apps --all-namespaces"));
    let version = ReadFailure {
        resource: "/version",
        ..listed
    };
    let finding = not_known(&version, "the version of Kubernetes");
    assert!(finding.remedy[0].ends_with("\nkubectl get --raw /version"));
}
