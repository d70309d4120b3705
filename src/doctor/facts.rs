//! Facts about a cluster: plain data that the checks evaluate.

use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::cluster::clock::Offset;
use judge::csr::names::San;

/// A value, or the reason that it could not be read.
pub(super) type Known<T> = Result<T, ReadFailure>;

/// A read that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadFailure {
    /// The verb of the required permission.
    pub(super) verb: &'static str,
    /// The resource as `kubectl auth can-i` takes it.
    pub(super) resource: &'static str,
    /// The namespace of the read; `None` for all, and for what has none.
    pub(super) namespace: Option<String>,
    /// The name of the object, if only one was read.
    pub(super) name: Option<String>,
    /// True if the permission is missing.
    pub(super) forbidden: bool,
    /// The cause, in a sentence.
    pub(super) why: String,
}

/// The input of all checks.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) server: String,
    /// The API server's time; the local time if it is not known.
    pub(super) now: Timestamp,
    pub(super) clock: Known<Offset>,
    pub(super) version: Known<String>,
    /// Names of the API groups that the API server serves.
    pub(super) api_groups: Known<Vec<String>>,
    /// ConfigMaps in `kube-system` that are a sign of a distribution.
    pub(super) config_maps: Known<Vec<&'static str>>,
    /// Networks of Services that the policy names.
    pub(super) service_networks: Vec<IpNet>,
    /// True if the API server serves ServiceCIDR objects.
    pub(super) service_cidrs: Known<bool>,
    pub(super) nodes: Known<Vec<Node>>,
    /// The kubelets of the selected nodes.
    pub(super) kubelets: Vec<Kubelet>,
    /// The text in `kube-system/kubelet-config`; `None` if the ConfigMap does not exist.
    pub(super) kubelet_config: Known<Option<String>>,
    pub(super) requests: Known<Vec<Request>>,
    /// The Lease `kube-system/kube-controller-manager`.
    pub(super) controller_manager: Known<Option<Lease>>,
    /// The Lease of csr-warden.
    pub(super) warden: Known<Option<Lease>>,
    pub(super) workloads: Known<Vec<Workload>>,
    pub(super) approvers: Known<Vec<Approver>>,
    pub(super) restriction: NodeRestriction,
    /// The command lines of the API servers that run as Pods.
    pub(super) api_servers: Known<Vec<ApiServer>>,
    pub(super) autoscalers: Known<Vec<Autoscaler>>,
}

impl Facts {
    /// Returns true if this Node is known to be one of the control plane.
    ///
    /// Such a node is trusted as the API server is. Any other kubelet can answer whatever it likes
    /// through the API server's proxy, even an error in the API server's own words, and can create a
    /// mirror Pod of any name and flags.
    pub(super) fn is_control_plane(&self, node: &str) -> bool {
        let mut nodes = self.nodes.iter().flatten();
        nodes.any(|known| known.name == node && known.control_plane)
    }
}

/// A Node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// The first InternalIP, at which the kubelet is dialed.
    pub(super) address: Option<std::net::IpAddr>,
    /// The kubelet's port (`status.daemonEndpoints`). Every kubelet writes it.
    pub(super) port: Option<u16>,
    /// True if it has the label of control-plane nodes, which no kubelet can set.
    pub(super) control_plane: bool,
    /// The labels that it has of those that are a sign of a distribution.
    pub(super) sign_labels: Vec<&'static str>,
    /// `status.nodeInfo.osImage`.
    pub(super) os_image: Option<String>,
    /// `spec.providerID`.
    pub(super) provider_id: Option<String>,
}

/// The answers of one kubelet.
#[derive(Clone, Debug)]
pub(super) struct Kubelet {
    pub(super) node: String,
    /// The result of dialing its port.
    pub(super) dialed: DialResult,
    /// The result of the request through the API server's proxy.
    pub(super) proxied: Proxied,
}

/// The result of a TLS handshake with a kubelet.
#[derive(Clone, Debug)]
pub(super) enum DialResult {
    Certificate(Box<Certificate>),
    /// The kubelet answers, and has no certificate.
    NoCertificate,
    Failed(String),
}

/// The certificate of a kubelet.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// The address that was dialed.
    pub(super) address: std::net::IpAddr,
    pub(super) common_name: String,
    pub(super) signed_by: SignedBy,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) sans: BTreeSet<San>,
}

/// The issuer of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignedBy {
    /// The CA of the kubeconfig, or the one of `--kubelet-certificate-authority`.
    Cluster,
    /// The kubelet.
    Itself,
    /// The issuer's name.
    Other(String),
}

/// The result of a request to a kubelet through the API server's proxy.
#[derive(Clone, Debug)]
pub(super) enum Proxied {
    /// The value of `serverTLSBootstrap` in its configuration.
    Bootstrap(bool),
    /// The kubelet has no certificate.
    NoCertificate,
    /// The API server rejects the kubelet's certificate.
    NotTrusted(String),
    /// A permission is missing.
    Forbidden(String),
    Failed(String),
}

/// A request for a kubelet serving certificate.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    /// True if the requestor is a node.
    pub(super) of_node: bool,
    pub(super) created: Timestamp,
    pub(super) state: State,
}

/// The state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Denied,
    /// Approved at this time; no certificate yet.
    Approved {
        since: Timestamp,
        by: ApprovedBy,
    },
    Issued {
        by: ApprovedBy,
    },
    /// Approved, and rejected by the signer.
    Failed {
        why: String,
    },
}

/// The author of the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApprovedBy {
    Warden,
    /// The field manager, or the condition's reason without one.
    Other(String),
}

/// A Lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) namespace: String,
    /// The holder; `None` if the Lease was released.
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    pub(super) duration: SignedDuration,
}

/// A Deployment, DaemonSet or StatefulSet.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// The kind as kubectl takes it, such as `deployment`.
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// The value of the label `app.kubernetes.io/name`.
    pub(super) label: Option<String>,
    pub(super) desired: i32,
    pub(super) ready: i32,
    pub(super) containers: Vec<Container>,
}

/// A container of a workload.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) image: String,
    /// Command and arguments.
    pub(super) args: Vec<String>,
}

/// A subject with the rights to approve serving certificates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Approver {
    /// Kind and name, such as `ServiceAccount kube-system/x` or `Group y`.
    pub(super) subject: String,
    /// True if the subject is bound to `cluster-admin`.
    pub(super) administrator: bool,
    /// The ClusterRoleBindings that grant the rights.
    pub(super) bindings: BTreeSet<String>,
}

/// The result of writing to another node's Node, as a dry run.
#[derive(Clone, Debug)]
pub(super) enum NodeRestriction {
    /// The write was rejected, with this message.
    Refused(String),
    /// The write to this Node was accepted.
    Accepted(String),
    /// The write was not tried, for this reason.
    NotTried(String),
}

/// An API server that runs as a Pod.
#[derive(Clone, Debug)]
pub(super) struct ApiServer {
    pub(super) pod: String,
    /// The Node that it runs on.
    pub(super) node: String,
    pub(super) args: Vec<String>,
}

/// A HorizontalPodAutoscaler that cannot read metrics.
#[derive(Clone, Debug)]
pub(super) struct Autoscaler {
    /// `NAMESPACE/NAME`.
    pub(super) name: String,
    pub(super) message: String,
}

impl Workload {
    /// Returns true for csr-warden's own workload.
    pub(super) fn is_csr_warden(&self) -> bool {
        self.name == "csr-warden" || self.label.as_deref() == Some("csr-warden")
    }

    /// Returns csr-warden's workload: the one that writes, if others are canaries.
    pub(super) fn of_csr_warden(workloads: &Known<Vec<Workload>>) -> Option<&Workload> {
        let ours = workloads.iter().flatten();
        let ours = ours.filter(|workload| workload.is_csr_warden());
        ours.min_by_key(|workload| workload.is_dry_run())
    }

    /// Returns true if a flag makes csr-warden write nothing.
    pub(super) fn is_dry_run(&self) -> bool {
        let mut args = self.containers.iter().flat_map(|one| &one.args);
        args.any(|arg| arg == "--enforcement=DryRun")
    }

    /// The name of the Lease of csr-warden's replicas. The chart names it after the release.
    pub(super) fn lease_name(&self) -> &str {
        let args = self.containers.iter().flat_map(|one| &one.args);
        let mut named = args.filter_map(|arg| arg.strip_prefix("--lease-name="));
        named.next_back().unwrap_or("csr-warden")
    }

    /// `NAMESPACE/NAME`.
    pub(super) fn display_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
