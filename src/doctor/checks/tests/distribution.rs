//! Findings about the distribution.

use super::*;
use crate::doctor::distributions::DISTRIBUTIONS;
use crate::doctor::report::{Check, Checked};

fn checked(change: impl FnOnce(&mut Facts)) -> Checked {
    let mut facts = healthy();
    facts.config_maps = Ok(Vec::new());
    change(&mut facts);
    let report = report(&facts, Ok(approved()));
    let mut checks = report.checks.into_iter();
    checks
        .find(|checked| checked.check == Check::Distribution)
        .unwrap()
}

fn observed(change: impl FnOnce(&mut Facts)) -> String {
    checked(change).observed.unwrap()
}

#[test]
fn distributions_are_told_by_the_api_server() {
    let version =
        |version: &'static str| move |facts: &mut Facts| facts.version = Ok(version.to_owned());
    let of_version = [
        ("v1.35.4+k3s1", "k3s"),
        ("v1.35.4+rke2r1", "RKE2"),
        ("v1.35.4+k0s.0", "k0s"),
        ("v1.35.4-eks-c39b1d0", "Amazon EKS"),
        ("v1.35.4-gke.1100", "Google GKE"),
    ];
    for (text, name) in of_version {
        assert!(observed(version(text)).starts_with(name), "{text}");
    }
    let openshift = |facts: &mut Facts| facts.api_groups = Ok(vec!["config.openshift.io".into()]);
    assert!(observed(openshift).starts_with("OpenShift"));
    let aks = |facts: &mut Facts| facts.server = "https://a.hcp.eastus.azmk8s.io:443/".into();
    assert!(observed(aks).starts_with("Azure AKS"));
    let gardener = |facts: &mut Facts| facts.config_maps = Ok(vec!["shoot-info"]);
    assert!(observed(gardener).starts_with("Gardener"));
    let kubespray = |facts: &mut Facts| {
        facts.config_maps = Ok(vec!["kubeadm-config"]);
        facts.workloads = Ok(vec![workload("nodelocaldns", "x", &[])]);
    };
    assert!(observed(kubespray).starts_with("kubespray, kubeadm;"));
    assert!(observed(|_| {}).starts_with("not recognized"));
}

/// A kubelet writes its own Node: the word of one that is not of the control plane tells nothing.
#[test]
fn a_worker_node_tells_no_distribution() {
    let change = |control_plane: bool, everywhere: bool| {
        move |facts: &mut Facts| {
            let mut liar = facts.nodes.as_ref().unwrap()[0].clone();
            liar.control_plane = control_plane;
            liar.os_image = Some("Talos (v1.12.0)".into());
            liar.provider_id = Some("kind://docker/kind/n2".into());
            liar.sign_labels = vec!["microk8s.io/cluster"];
            let nodes = facts.nodes.as_mut().unwrap();
            if everywhere {
                nodes.clear();
            }
            nodes.push(liar);
        }
    };
    assert!(observed(change(false, false)).starts_with("not recognized"));
    assert!(observed(change(true, false)).starts_with("Talos, kind;"));
    assert!(observed(change(false, true)).starts_with("MicroK8s;"));
}

#[test]
fn approvers_of_the_distribution_are_named() {
    let eks = checked(|facts| facts.version = Ok("v1.35.4-eks-c39b1d0".into()));
    assert_eq!(eks.findings[0].code, Code::ApproverBuiltIn);
    assert!(
        eks.observed
            .unwrap()
            .ends_with("eks-certificates-controller")
    );
    let k3s = checked(|facts| facts.version = Ok("v1.35.4+k3s1".into()));
    assert_eq!(k3s.findings[0].code, Code::RequestsNotSent);
    let other = observed(|facts| {
        facts.workloads = Ok(vec![workload("x", "y/kubelet-csr-approver:1", &[])]);
    });
    assert!(other.ends_with("approvers: kube-system/x"), "{other}");
    let openshift = observed(|facts| {
        facts.api_groups = Ok(vec!["config.openshift.io".into()]);
        facts.workloads = Err(unread());
    });
    assert!(openshift.contains("machine-approver"), "{openshift}");
}

fn unread() -> ReadFailure {
    ReadFailure {
        verb: "list",
        resource: "deployments.apps",
        namespace: None,
        name: None,
        forbidden: true,
        why: "no".into(),
    }
}

#[test]
fn what_cannot_be_read_is_not_unrecognized() {
    let blind = checked(|facts| facts.api_groups = Err(unread()));
    assert_eq!(blind.observed, None);
    assert_eq!(blind.findings[0].code, Code::RightMissing);
    let known = checked(|facts| {
        facts.api_groups = Err(unread());
        facts.version = Ok("v1.35.4+k0s.0".into());
    });
    assert!(known.observed.unwrap().starts_with("k0s"));
    assert!(DISTRIBUTIONS.len() > 10);
}
