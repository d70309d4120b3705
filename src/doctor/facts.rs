//! What is known of a cluster: plain data, from which the checks conclude.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use judge::csr::names::San;

/// Something read, or why it could not be.
pub(super) type Known<T> = Result<T, ReadFailure>;

/// What could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadFailure {
    /// The verb of the right that it takes.
    pub(super) verb: &'static str,
    /// The resource as `kubectl auth can-i` takes it.
    pub(super) resource: &'static str,
    /// Whether the right is what is missing.
    pub(super) forbidden: bool,
    /// What happened, in a sentence.
    pub(super) why: String,
}

/// All that the checks need.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) server: String,
    /// By our own clock.
    pub(super) now: Timestamp,
    pub(super) clock: Known<ClockOffset>,
    pub(super) version: Known<String>,
    /// Whether ServiceCIDR objects are served.
    pub(super) service_cidrs: Known<bool>,
    pub(super) nodes: Known<Vec<Node>>,
    /// Of the nodes that were to be looked at.
    pub(super) kubelets: Vec<Kubelet>,
    /// The text in `kube-system/kubelet-config`; `None` if there is none.
    pub(super) kubelet_config: Known<Option<String>>,
    pub(super) requests: Known<Vec<Request>>,
    /// The Lease `kube-system/kube-controller-manager`.
    pub(super) controller_manager: Known<Option<Lease>>,
    /// The Lease of csr-warden.
    pub(super) warden: Known<Option<Lease>>,
    pub(super) workloads: Known<Vec<Workload>>,
    pub(super) approvers: Known<Vec<Approver>>,
    pub(super) restriction: NodeRestriction,
    /// The command lines of the API servers that are Pods.
    pub(super) api_servers: Known<Vec<ApiServer>>,
    pub(super) autoscalers: Known<Vec<Autoscaler>>,
}

impl Facts {
    /// The API server's time if it is known, else ours.
    pub(super) fn server_now(&self) -> Timestamp {
        let ahead = self
            .clock
            .as_ref()
            .map_or(SignedDuration::ZERO, |c| c.ahead);
        self.now.checked_add(ahead).unwrap_or(self.now)
    }
}

/// How two clocks differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockOffset {
    /// How far the API server's is ahead of ours.
    pub(super) ahead: SignedDuration,
    /// How wrong that may be: the answer's time, and that the header has whole seconds.
    pub(super) uncertainty: SignedDuration,
}

/// A Node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// Where its kubelet is dialed: the first InternalIP.
    pub(super) address: Option<std::net::IpAddr>,
    /// The kubelet's port, if the Node names one: every kubelet writes it there.
    pub(super) port: Option<u16>,
}

/// What a kubelet showed.
#[derive(Clone, Debug)]
pub(super) struct Kubelet {
    pub(super) node: String,
    /// Straight at its port.
    pub(super) dialed: DialResult,
    /// Through the API server.
    pub(super) proxied: Proxied,
}

/// What came of a TLS handshake with a kubelet.
#[derive(Clone, Debug)]
pub(super) enum DialResult {
    Certificate(Box<Certificate>),
    /// It answers, and has no certificate to show.
    NoCertificate,
    Failed(String),
}

/// The certificate of a kubelet.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// The address at which it was shown.
    pub(super) address: std::net::IpAddr,
    pub(super) common_name: String,
    pub(super) signed_by: SignedBy,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) sans: BTreeSet<San>,
}

/// Who signed a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignedBy {
    /// An authority that the kubeconfig trusts, or the one that was named.
    Cluster,
    /// The kubelet.
    Itself,
    /// The issuer's name.
    Other(String),
}

/// What came of asking a kubelet through the API server.
#[derive(Clone, Debug)]
pub(super) enum Proxied {
    /// Its configuration says this of `serverTLSBootstrap`.
    Bootstrap(bool),
    /// The kubelet has no certificate.
    NoCertificate,
    /// The API server refuses what the kubelet shows.
    NotTrusted(String),
    /// A right is missing.
    Forbidden(String),
    Failed(String),
}

/// A kubelet's request for a serving certificate.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    /// Whether a node has asked.
    pub(super) of_node: bool,
    pub(super) created: Timestamp,
    pub(super) state: State,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Denied,
    /// Approved at this time, without certificate yet.
    Approved {
        since: Timestamp,
        by: ApprovedBy,
    },
    Issued {
        by: ApprovedBy,
    },
    /// Approved, and refused by the signer.
    Failed {
        why: String,
    },
}

/// Who wrote the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApprovedBy {
    Warden,
    /// The field manager, or the reason if there is none.
    Other(String),
}

/// A Lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) namespace: String,
    /// `None` if it was given back.
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    pub(super) duration: SignedDuration,
}

/// A Deployment, DaemonSet or StatefulSet.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// As kubectl takes it, such as `deployment`.
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `app.kubernetes.io/name`.
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

/// Somebody with the rights to approve serving certificates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Approver {
    /// Such as `ServiceAccount kube-system/x` or `Group y`.
    pub(super) subject: String,
    /// Whether it may do everything: it is bound to `cluster-admin`.
    pub(super) administrator: bool,
    /// ClusterRoleBindings from which it has them.
    pub(super) bindings: BTreeSet<String>,
}

/// What came of writing to another node's Node, as a dry run.
#[derive(Clone, Debug)]
pub(super) enum NodeRestriction {
    /// It was refused, with this message.
    Refused(String),
    /// It was accepted for this Node.
    Accepted(String),
    /// It could not be tried.
    NotTried(String),
}

/// An API server that is a Pod.
#[derive(Clone, Debug)]
pub(super) struct ApiServer {
    pub(super) pod: String,
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
    /// Whether it is csr-warden.
    pub(super) fn is_csr_warden(&self) -> bool {
        self.name == "csr-warden" || self.label.as_deref() == Some("csr-warden")
    }

    /// As people name it: `NAMESPACE/NAME`.
    pub(super) fn display_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
