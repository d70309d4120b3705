//! Options of a cluster.

use std::net::Ipv4Addr;

/// Options of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Enables `NodeRestriction`: a kubelet may write only its own Node and request only its own
    /// name.
    pub node_restriction: bool,
    /// A non-loopback address of this machine. The API server listens on all addresses and
    /// publishes this one in the EndpointSlice `kubernetes`. `None`: it listens on 127.0.0.1 and
    /// publishes none.
    pub advertise: Option<Ipv4Addr>,
    /// The controller-manager's `--cluster-signing-duration`, such as `3m`.
    pub signing_duration: Option<String>,
    /// The API server is reached at 127.0.0.1, and its certificate has this address and localhost.
    /// If false, it is reached at the advertised address.
    pub loopback: bool,
    /// Additional DNS names and IPs in the API server's serving certificate.
    pub extra_sans: Vec<String>,
    /// The network of Services, or one of each family with a comma between. The first address of the
    /// first one is that of the Service `kubernetes`.
    pub service_cidr: String,
    /// The domain of Services.
    pub cluster_domain: String,
    /// Additional flags of the API server.
    pub api_server_args: Vec<String>,
    /// The API server verifies kubelets with the cluster's CA.
    pub verify_kubelets: bool,
    /// Runs the controllers for Deployments and autoscalers, and the aggregation layer, see
    /// `workload_flags.rs`.
    pub workloads: bool,
    /// Runs the signer and the cleaner. If false, approved requests get no certificate.
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
