//! Distributions of Kubernetes and programs that approve kubelets' requests: what is known of each, with
//! the source of the fact.
//!
//! A sign is something that the API server itself says, an administrator's object, a property of
//! control-plane Nodes, or a label that every Node has. What one other kubelet says of itself is no sign.

/// A distribution.
pub(super) struct Distribution {
    /// Its name, for people.
    pub(super) name: &'static str,
    /// Any of these tells it.
    pub(super) signs: &'static [Sign],
    /// The approver that it brings.
    pub(super) approver: Approver,
    /// The page or file that says so.
    pub(super) source: &'static str,
}

/// A sign of a distribution.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    /// The API server's version contains this.
    Version(&'static str),
    /// The host of the API server's URL ends with this.
    ServerHost(&'static str),
    /// The API server serves this API group.
    ApiGroup(&'static str),
    /// There is a Deployment or DaemonSet of this namespace and name.
    Workload(&'static str, &'static str),
    /// There is a ConfigMap of this name in `kube-system`.
    ConfigMap(&'static str),
    /// The operating system of a control-plane Node begins with this.
    ControlPlaneOs(&'static str),
    /// The provider ID of a control-plane Node begins with this.
    ControlPlaneProvider(&'static str),
    /// Every Node has this label.
    EveryNode(&'static str),
}

/// The approval of kubelets' serving certificates in a distribution.
#[derive(Clone, Copy)]
pub(super) enum Approver {
    /// Nothing approves them.
    Absent,
    /// This part of its control plane approves them. No Deployment shows it.
    BuiltIn(&'static str),
    /// This Deployment of it approves them.
    Deployed(&'static str),
    /// Kubelets send no request; they have their certificate from here.
    NoRequests(&'static str),
}

/// All known distributions. One that is built on another stands before it.
pub(super) const DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        name: "OpenShift",
        signs: &[Sign::ApiGroup("config.openshift.io")],
        approver: Approver::Deployed("machine-approver in openshift-cluster-machine-approver"),
        source: "https://github.com/openshift/cluster-machine-approver",
    },
    Distribution {
        name: "Amazon EKS",
        signs: &[
            Sign::Version("-eks-"),
            Sign::ServerHost(".eks.amazonaws.com"),
        ],
        approver: Approver::BuiltIn("eks-certificates-controller"),
        source: "https://docs.aws.amazon.com/eks/latest/userguide/cert-signing.html",
    },
    Distribution {
        name: "Google GKE",
        signs: &[Sign::Version("-gke.")],
        approver: Approver::BuiltIn("gcp-controller-manager"),
        source: "https://github.com/kubernetes/cloud-provider-gcp, cmd/gcp-controller-manager",
    },
    Distribution {
        name: "Azure AKS",
        signs: &[
            Sign::ServerHost(".azmk8s.io"),
            Sign::EveryNode("kubernetes.azure.com/cluster"),
        ],
        approver: Approver::BuiltIn("the control plane of AKS"),
        source: "https://learn.microsoft.com/azure/aks/certificate-rotation",
    },
    Distribution {
        name: "Gardener",
        signs: &[Sign::ConfigMap("shoot-info")],
        approver: Approver::BuiltIn("gardener-resource-manager"),
        source: "https://github.com/gardener/gardener, docs/concepts/resource-manager.md",
    },
    Distribution {
        name: "k3s",
        signs: &[Sign::Version("+k3s")],
        approver: Approver::NoRequests("the server's supervisor (/v1-k3s/serving-kubelet.crt)"),
        source: "https://github.com/k3s-io/k3s, pkg/agent/config/config.go",
    },
    Distribution {
        name: "RKE2",
        signs: &[Sign::Version("+rke2")],
        approver: Approver::NoRequests("the server's supervisor (/v1-k3s/serving-kubelet.crt)"),
        source: "https://docs.rke2.io/security/hardening_guide (tlsCertFile)",
    },
    Distribution {
        name: "k0s",
        signs: &[Sign::Version("+k0s")],
        approver: Approver::BuiltIn("csr-approver of the k0s controllers"),
        source: "https://github.com/k0sproject/k0s, pkg/component/controller/csrapprover.go",
    },
    Distribution {
        name: "Talos",
        signs: &[Sign::ControlPlaneOs("Talos")],
        approver: Approver::Absent,
        source: "https://www.talos.dev/latest/kubernetes-guides/configuration/deploy-metrics-server",
    },
    Distribution {
        name: "MicroK8s",
        signs: &[Sign::EveryNode("microk8s.io/cluster")],
        approver: Approver::Absent,
        source: "https://github.com/canonical/microk8s, microk8s-resources/default-args/kubelet",
    },
    Distribution {
        name: "kind",
        signs: &[Sign::ControlPlaneProvider("kind://")],
        approver: Approver::Absent,
        source: "https://github.com/kubernetes-sigs/kind, pkg/cluster/internal/kubeadm/config.go",
    },
    Distribution {
        name: "kubespray",
        signs: &[
            Sign::Workload("kube-system", "dns-autoscaler"),
            Sign::Workload("kube-system", "nodelocaldns"),
        ],
        approver: Approver::Absent,
        source: "https://github.com/kubernetes-sigs/kubespray, docs/operations/hardening.md",
    },
    Distribution {
        name: "Cluster API (management cluster)",
        signs: &[Sign::ApiGroup("cluster.x-k8s.io")],
        approver: Approver::Absent,
        source: "https://github.com/kubernetes-sigs/cluster-api/issues/6317",
    },
    Distribution {
        name: "kubeadm",
        signs: &[Sign::ConfigMap("kubeadm-config")],
        approver: Approver::Absent,
        source: "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/",
    },
];

/// Programs that approve kubelets' requests: the names of their workloads and images, without registry
/// and tag, each with its source.
pub(super) const APPROVERS: [(&str, &str); 8] = [
    (
        "kubelet-csr-approver",
        "https://github.com/postfinance/kubelet-csr-approver",
    ),
    (
        "kubelet-serving-cert-approver",
        "https://github.com/alex1989hu/kubelet-serving-cert-approver",
    ),
    (
        "kubelet-rubber-stamp",
        "https://github.com/kontena/kubelet-rubber-stamp",
    ),
    (
        "rubber-stamp",
        "https://github.com/kontena/kubelet-rubber-stamp",
    ),
    (
        "csr-approver",
        "https://github.com/postfinance/kubelet-csr-approver",
    ),
    (
        "machine-approver",
        "https://github.com/openshift/cluster-machine-approver",
    ),
    (
        "talos-cloud-controller-manager",
        "https://github.com/siderolabs/talos-cloud-controller-manager",
    ),
    (
        "gcp-controller-manager",
        "https://github.com/kubernetes/cloud-provider-gcp",
    ),
];

/// The signs of all distributions.
pub(super) fn signs() -> impl Iterator<Item = Sign> {
    let all = DISTRIBUTIONS.iter();
    all.flat_map(|distribution| distribution.signs.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_has_a_source() {
        for known in DISTRIBUTIONS {
            assert!(known.source.starts_with("https://"), "{}", known.name);
            assert!(!known.signs.is_empty(), "{}", known.name);
        }
        for (name, source) in APPROVERS {
            assert!(source.starts_with("https://"), "{name}");
        }
    }
}
