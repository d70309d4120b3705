//! What kind of cluster is started.

use std::net::Ipv4Addr;

/// What kind of cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a kubelet may write only to its own Node and ask only for its own name.
    pub node_restriction: bool,
    /// An address of this machine that is not loopback: the API server listens on all and keeps the
    /// EndpointSlice `kubernetes` with this one. Else it listens on 127.0.0.1 and keeps none.
    pub advertise: Option<Ipv4Addr>,
    /// The controller-manager's `--cluster-signing-duration`, such as `3m`.
    pub signing_duration: Option<String>,
    /// Whether the API server is reached at 127.0.0.1 and has that and localhost in its serving
    /// certificate. Else it is reached at the address that it advertises.
    pub loopback: bool,
    /// More DNS names and IPs in the API server's serving certificate.
    pub extra_sans: Vec<String>,
    /// The network of Services; its first address is that of the Service `kubernetes`.
    pub service_cidr: String,
    /// The domain of Services.
    pub cluster_domain: String,
    /// More flags for the API server.
    pub api_server_args: Vec<String>,
    /// Whether the API server verifies kubelets with the cluster's CA.
    pub verify_kubelets: bool,
    /// Whether Deployments, autoscalers and extensions of the API are served too, see `workload_flags.rs`.
    pub workloads: bool,
    /// Whether the signer and the cleaner run. Without, approved requests stay without certificate.
    pub signer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_restriction: true,
            advertise: None,
            signing_duration: None,
            loopback: true,
            extra_sans: Vec::new(),
            service_cidr: "10.96.0.0/16".into(),
            cluster_domain: "cluster.local".into(),
            api_server_args: Vec::new(),
            verify_kubelets: false,
            workloads: false,
            signer: true,
        }
    }
}
