//! The policy about names and addresses of the API server and of Services.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Requirement, fields};
use crate::csr::names::San;
use crate::evidence::Node;
use crate::node_pattern;

/// Names and addresses that no node may have, besides the discovered ones.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProtectedPolicy {
    /// Domains of the cluster's Services, besides those in the API servers' certificates.
    pub cluster_domains: Vec<String>,
    /// Protected names, with all names under them.
    pub names: Vec<String>,
    /// Protected networks.
    #[serde(deserialize_with = "fields::networks")]
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
    /// Networks of the cluster's Services, for an API server without ServiceCIDR objects (older than Kubernetes
    /// 1.33). They are protected besides those of such objects.
    #[serde(deserialize_with = "fields::networks")]
    #[schemars(with = "Vec<String>")]
    pub service_networks: Vec<IpNet>,
    /// Reading the certificate of every API server endpoint.
    pub endpoint_certificates: Requirement,
    /// Exceptions: names and addresses of API servers that nodes may have.
    pub allowed: Vec<AllowedIdentities>,
}

impl Default for ProtectedPolicy {
    fn default() -> Self {
        ProtectedPolicy {
            cluster_domains: vec!["cluster.local".into()],
            names: Vec::new(),
            networks: Vec::new(),
            service_networks: Vec::new(),
            endpoint_certificates: Requirement::Required,
            allowed: Vec::new(),
        }
    }
}

/// Names and addresses of API servers that some nodes may have. Exactly one of `node` and `nodes` is set.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedIdentities {
    /// The Node's name, or a pattern with `*` for any characters but a dot. A pattern counts only for Nodes
    /// with the label `node-role.kubernetes.io/control-plane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `ControlPlane`: every Node with the label `node-role.kubernetes.io/control-plane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<AllowedNodes>,
    /// DNS names and IP addresses.
    pub sans: Vec<String>,
}

/// A group of Nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AllowedNodes {
    /// Nodes with the label of the control plane, which no kubelet can set.
    ControlPlane,
}

impl AllowedIdentities {
    /// Returns true if the entry allows this Node this SAN.
    pub(crate) fn allows(&self, node: &Node, san: &San) -> bool {
        let is_named = match (&self.node, self.nodes) {
            (Some(pattern), _) if pattern.contains('*') => {
                node.control_plane && node_pattern::matches(pattern, &node.name)
            }
            (Some(name), _) => name == node.name.as_str(),
            (None, Some(AllowedNodes::ControlPlane)) => node.control_plane,
            (None, None) => false,
        };
        let mut sans = self.sans.iter();
        is_named && sans.any(|text| San::from_host_text(text).as_ref() == Some(san))
    }
}
