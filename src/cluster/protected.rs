//! The API's objects that say which names and addresses are not any node's.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::config::Kubeconfig;
use kube::{Resource, ResourceExt};

use super::certificates::ApiServer;
use crate::csr::names::San;
use crate::evidence::IdentityKind;

/// Namespace and name of the API server's Service.
pub const KUBERNETES_SERVICE: (&str, &str) = ("default", "kubernetes");
/// Namespace and name of the ConfigMap that tells joining nodes where the API server is.
pub const CLUSTER_INFO: (&str, &str) = ("kube-public", "cluster-info");
/// Endpoints that are asked for their certificates at most.
const MOST_ENDPOINTS: usize = 64;

/// What one object protects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protects {
    /// Names and addresses.
    pub sans: Vec<San>,
    /// Networks.
    pub networks: Vec<IpNet>,
    /// API servers whose certificates say more.
    pub servers: Vec<ApiServer>,
    /// What it names beside these and cannot be read, if there is such: what is protected is not
    /// known then.
    pub unread: Option<String>,
}

/// An object that protects something.
pub trait ProtectingObject: Resource<DynamicType = ()> + Sized {
    /// What the names and addresses are.
    const IDENTITY: IdentityKind;

    /// What it protects.
    fn protects(&self) -> Protects;

    /// How a person knows it.
    fn origin(&self) -> String {
        let kind = Self::kind(&());
        match self.namespace() {
            Some(namespace) => format!("{kind} {namespace}/{}", self.name_any()),
            None => format!("{kind} {}", self.name_any()),
        }
    }
}

impl ProtectingObject for Service {
    const IDENTITY: IdentityKind = IdentityKind::Service;

    fn protects(&self) -> Protects {
        let spec = self.spec.clone().unwrap_or_default();
        let ips = spec.cluster_ips.unwrap_or_default();
        Protects {
            sans: ips
                .iter()
                .chain(&spec.cluster_ip)
                .chain(spec.external_ips.iter().flatten())
                .filter_map(|ip| San::from_ip_text(ip))
                .collect(),
            ..Protects::default()
        }
    }
}

impl ProtectingObject for EndpointSlice {
    const IDENTITY: IdentityKind = IdentityKind::ApiServerEndpoint;

    fn protects(&self) -> Protects {
        let addresses: Vec<IpAddr> = self
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| address.parse().ok())
            .collect();
        let ports: Vec<u16> = self
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.port.and_then(|port| u16::try_from(port).ok()))
            .collect();
        let servers = addresses.iter().flat_map(|ip| {
            let server = |port: &u16| ApiServer::endpoint(*ip, *port);
            ports.iter().map(server)
        });
        Protects {
            servers: servers.take(MOST_ENDPOINTS).collect(),
            sans: addresses
                .iter()
                .map(|ip| San::Ip(ip.to_canonical()))
                .collect(),
            ..Protects::default()
        }
    }
}

impl ProtectingObject for ServiceCIDR {
    const IDENTITY: IdentityKind = IdentityKind::Service;

    fn protects(&self) -> Protects {
        let cidrs = self.spec.as_ref().and_then(|spec| spec.cidrs.as_deref());
        Protects {
            networks: cidrs
                .unwrap_or_default()
                .iter()
                .filter_map(|network| network.parse().ok())
                .collect(),
            ..Protects::default()
        }
    }
}

impl ProtectingObject for ConfigMap {
    const IDENTITY: IdentityKind = IdentityKind::ApiServerIdentity;

    /// The servers of the kubeconfig that kubeadm publishes. Other ConfigMaps, and a kubeconfig
    /// that cannot be read, protect nothing.
    fn protects(&self) -> Protects {
        let kubeconfig = self
            .data
            .as_ref()
            .and_then(|data| data.get("kubeconfig"))
            .and_then(|text| Kubeconfig::from_yaml(text).ok());
        let clusters = kubeconfig
            .map(|kubeconfig| kubeconfig.clusters)
            .unwrap_or_default();
        Protects {
            sans: clusters
                .into_iter()
                .filter_map(|named| named.cluster?.server)
                .filter_map(|server| {
                    let url: http::Uri = server.parse().ok()?;
                    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
                    San::from_host_text(host)
                })
                .collect(),
            ..Protects::default()
        }
    }
}
