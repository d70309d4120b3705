//! The protected objects of the vectors' cluster: those of kubeadm with a virtual IP in front of
//! its API server.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use control_plane::cluster::{Cluster, Options};
use control_plane::fake_api_server::FakeApiServer;
use testkit::cluster::{ProtectedKind, ProtectedSpec};

/// The address of the API server.
pub const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The API server's addresses for clients: a load balancer, and a virtual IP.
pub const SERVERS: [&str; 2] = [
    "https://api.cluster.example:6443",
    "https://10.0.0.200:6443",
];

/// Returns options for a cluster that protects exactly what `judge::cluster::kubeadm` lists.
pub fn options(node_restriction: bool) -> Options {
    Options {
        node_restriction,
        advertise: Some(ENDPOINT),
        loopback: false,
        extra_sans: ["cp-1", "api.cluster.example", "10.0.0.200"]
            .map(String::from)
            .into(),
        service_cidr: "10.96.0.0/12".into(),
        ..Options::default()
    }
}

/// Publishes these URLs of the API server as kubeadm does.
pub async fn publish_cluster_info(cluster: &Cluster, servers: &[&str]) -> Result<()> {
    let servers = servers.iter();
    let servers = servers.map(|server| json!({"name": "", "cluster": {"server": server}}));
    let servers: Vec<Value> = servers.collect();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "clusters": servers});
    let published = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig.to_string()},
    });
    cluster.apply(&published.to_string()).await
}

/// Additional protected objects. They must be created while csr-warden is stopped: otherwise it
/// would learn about them at an unknown time.
pub struct ProtectedObjects {
    objects: Vec<Value>,
    /// Another API server with the requested certificate.
    facade: Option<FakeApiServer>,
}

impl ProtectedObjects {
    /// Creates these objects.
    pub async fn add(cluster: &Cluster, parts: &[ProtectedSpec]) -> Result<Self> {
        let mut added = Self {
            objects: Vec::new(),
            facade: None,
        };
        for part in parts {
            added.protect(cluster, part, parts).await?;
        }
        for object in &added.objects {
            cluster.apply(&object.to_string()).await?;
        }
        Ok(added)
    }

    async fn protect(
        &mut self,
        cluster: &Cluster,
        part: &ProtectedSpec,
        all: &[ProtectedSpec],
    ) -> Result<()> {
        let name = part.origin.rsplit([' ', '/']).next().unwrap_or_default();
        match part.kind {
            ProtectedKind::Service if part.networks.is_empty() => {
                let mut networks = all.iter().flat_map(|part| &part.networks);
                let ips: Vec<IpAddr> = parsed(&part.sans);
                ensure!(
                    networks.any(|network| ips.iter().all(|ip| network.contains(ip))),
                    "{part:?} is in no network of Services"
                );
            }
            ProtectedKind::Service => self.objects.push(json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "ServiceCIDR",
                "metadata": {"name": name},
                "spec": {"cidrs": part.networks},
            })),
            ProtectedKind::ApiServerEndpoint => {
                let kind = if part.sans.iter().any(|san| san.contains(':')) {
                    "IPv6"
                } else {
                    "IPv4"
                };
                let slice = endpoint_slice(name, kind, &json!(part.sans), &json!([]));
                self.objects.push(slice);
            }
            ProtectedKind::ApiServerIdentity => {
                ensure!(self.facade.is_none(), "one more API server is enough");
                let ips: Vec<IpAddr> = parsed(&part.sans);
                let is_name = |san: &&String| san.parse::<IpAddr>().is_err();
                let mut dns: Vec<String> = part.sans.iter().filter(is_name).cloned().collect();
                // The name by which csr-warden recognizes an API server.
                dns.push("kubernetes.default.svc".into());
                let facade = FakeApiServer::start(cluster.authority(), ENDPOINT.into(), &dns, &ips);
                let facade = facade.await?;
                let port = json!([{"name": "https", "port": facade.address().port()}]);
                let slice = endpoint_slice("facade", "IPv4", &json!([ENDPOINT]), &port);
                self.objects.push(slice);
                self.facade = Some(facade);
            }
        }
        Ok(())
    }

    /// Removes the objects.
    pub async fn remove(self, cluster: &Cluster) -> Result<()> {
        for object in &self.objects {
            let args = ["delete", "--wait=false", "-f", "-"];
            let output = cluster.kubectl_output(&args, &object.to_string()).await?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "kubectl delete: {error}");
        }
        Ok(())
    }
}

/// Renders an EndpointSlice of the Service `kubernetes`.
pub fn endpoint_slice(name: &str, kind: &str, addresses: &Value, ports: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": kind,
        "endpoints": [{"addresses": addresses}],
        "ports": ports,
    })
}

fn parsed(sans: &[String]) -> Vec<IpAddr> {
    sans.iter().filter_map(|san| san.parse().ok()).collect()
}
