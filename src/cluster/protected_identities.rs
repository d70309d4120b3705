//! Protected identities: names, addresses and networks that belong to the API server or to
//! Services, never to a node.

use ipnet::IpNet;
use kube::ResourceExt;

use super::apiserver_certificates::ApiServer;
use super::kubeconfig;
use super::protected_objects::{Kind, ProtectedObject};
use judge::csr::names::San;
use judge::evidence::{IdentityKind, Protection, to_ipv4_mapped};

/// The identities that one object protects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedIdentities {
    /// Names, addresses and networks.
    pub protections: Vec<Protection>,
    /// API servers whose serving certificates have further identities.
    pub servers: Vec<ApiServer>,
    /// The Namespace that pods can name Services in.
    pub namespace: Option<Box<str>>,
    /// An identity that cannot be read. What is protected is incomplete then.
    pub unreadable: Option<String>,
}

/// Parses each text. Returns the parsed ones, and an error for the first that fails.
fn parse_all<'a, T>(
    texts: impl Iterator<Item = &'a String>,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> (Vec<T>, Option<String>) {
    let mut all = Vec::new();
    let mut unreadable = None;
    for text in texts {
        match read(text) {
            Some(one) => all.push(one),
            None => {
                unreadable.get_or_insert_with(|| format!("expected {expected}, found `{text}`"));
            }
        }
    }
    (all, unreadable)
}

/// The protection of these SANs, with this origin.
fn protection(origin: &str, kind: IdentityKind, sans: Vec<San>) -> Protection {
    Protection {
        origin: origin.to_owned(),
        kind,
        sans,
        networks: Vec::new(),
        certificate: None,
    }
}

impl ProtectedObject {
    /// Reads the protected identities of an object of this kind.
    pub fn protected_identities(&self, kind: Kind) -> ProtectedIdentities {
        let origin = self.origin(kind);
        let mut identities = match kind {
            Kind::Service => self.service(&origin),
            Kind::EndpointSlice => self.endpoint_slice(&origin),
            Kind::ServiceCidr => self.service_cidr(&origin),
            Kind::ConfigMap => self.cluster_info(&origin),
            Kind::Namespace => ProtectedIdentities {
                namespace: Some(self.name_any().into()),
                ..ProtectedIdentities::default()
            },
        };
        let unreadable = identities.unreadable.take();
        identities.unreadable = unreadable.map(|wrong| format!("{origin}: {wrong}"));
        identities
    }

    fn service(&self, origin: &str) -> ProtectedIdentities {
        let spec = self.spec.as_ref();
        let of_cluster = spec.and_then(|spec| spec.cluster_ips.as_ref());
        let ips = of_cluster.into_iter().flatten();
        let ips = ips
            .chain(spec.and_then(|spec| spec.cluster_ip.as_ref()))
            // The API's value for a Service without an address.
            .filter(|ip| !ip.is_empty() && *ip != "None")
            .chain(
                spec.iter()
                    .flat_map(|spec| spec.external_ips.iter().flatten()),
            );
        let (sans, unreadable) = parse_all(ips, "an IP address", San::from_ip_text);
        let status = self.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.into_iter().flat_map(|all| all.ingress.iter());
        let hosts = ingress
            .flatten()
            .flat_map(|one| one.ip.iter().chain(&one.hostname));
        let expected = "a load balancer's name or IP address";
        let (balancers, unreadable_balancer) = parse_all(hosts, expected, San::from_host_text);
        let mut protections = vec![protection(origin, IdentityKind::Service, sans)];
        if !balancers.is_empty() {
            let origin = format!("load balancer of {origin}");
            protections.push(protection(
                &origin,
                IdentityKind::ApiServerIdentity,
                balancers,
            ));
        }
        ProtectedIdentities {
            protections,
            servers: Vec::new(),
            unreadable: unreadable.or(unreadable_balancer),
            namespace: None,
        }
    }

    fn endpoint_slice(&self, origin: &str) -> ProtectedIdentities {
        let endpoints = self.endpoints.iter().flatten();
        let addresses = endpoints.flat_map(|endpoint| endpoint.addresses.iter().flatten());
        // Endpoints of address type FQDN are names.
        let (sans, unreadable) = parse_all(addresses, "a name or IP address", San::from_host_text);
        let ports: Vec<u16> = self
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.port.and_then(|port| u16::try_from(port).ok()))
            .collect();
        let servers = sans.iter().flat_map(|san| {
            let server = |port: &u16| ApiServer::endpoint(san, *port);
            ports.iter().map(server)
        });
        ProtectedIdentities {
            servers: servers.collect(),
            unreadable,
            protections: vec![protection(origin, IdentityKind::ApiServerEndpoint, sans)],
            namespace: None,
        }
    }

    fn service_cidr(&self, origin: &str) -> ProtectedIdentities {
        let cidrs = self.spec.as_ref().and_then(|spec| spec.cidrs.as_deref());
        let network = |text: &str| {
            let network: IpNet = text.parse().ok()?;
            Some(to_ipv4_mapped(&network).unwrap_or(network))
        };
        let (networks, unreadable) =
            parse_all(cidrs.unwrap_or_default().iter(), "a network", network);
        let protection = Protection {
            networks,
            ..protection(origin, IdentityKind::Service, Vec::new())
        };
        ProtectedIdentities {
            namespace: None,
            protections: vec![protection],
            servers: Vec::new(),
            unreadable,
        }
    }

    /// Reads the servers of the kubeconfig that kubeadm publishes. A ConfigMap of this name without
    /// one protects nothing.
    fn cluster_info(&self, origin: &str) -> ProtectedIdentities {
        let text = self.data.as_ref().and_then(|data| data.kubeconfig.as_ref());
        let read = text.map(|text| kubeconfig::parse(text));
        let (clusters, broken) = match read {
            None => (Vec::new(), None),
            Some(Ok(kubeconfig)) => (kubeconfig.clusters, None),
            Some(Err(why)) => (Vec::new(), Some(format!("its kubeconfig: {why}"))),
        };
        let servers: Vec<String> = clusters
            .into_iter()
            .filter_map(|named| named.cluster?.server)
            .collect();
        let expected = "a server's URL in its kubeconfig";
        let (sans, unreadable) = parse_all(servers.iter(), expected, |server| {
            let url: http::Uri = server.parse().ok()?;
            let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
            San::from_host_text(host)
        });
        ProtectedIdentities {
            namespace: None,
            protections: vec![protection(origin, IdentityKind::ApiServerIdentity, sans)],
            servers: Vec::new(),
            unreadable: broken.or(unreadable),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identities(kind: Kind, object: Value) -> ProtectedIdentities {
        let object: ProtectedObject = serde_json::from_value(object).unwrap();
        object.protected_identities(kind)
    }

    fn texts(identities: &ProtectedIdentities) -> Vec<String> {
        let sans = identities
            .protections
            .iter()
            .flat_map(|protection| &protection.sans);
        sans.map(San::to_string).collect()
    }

    fn cluster_info(kubeconfig: &str) -> ProtectedIdentities {
        identities(
            Kind::ConfigMap,
            json!({
                "metadata": {"namespace": "kube-public", "name": "cluster-info"},
                "data": {"kubeconfig": kubeconfig},
            }),
        )
    }

    #[test]
    fn an_unreadable_cluster_info_is_reported() {
        let of = |server: &str| format!("clusters: [{{name: a, cluster: {{server: '{server}'}}}}]");
        for broken in [
            "clusters: [",
            "clusters: 7",
            &of("https://a b"),
            &of("https://a_b!"),
        ] {
            let why = cluster_info(broken).unreadable;
            let named = why.as_ref().is_some_and(|why| {
                why.starts_with("ConfigMap kube-public/cluster-info: ") && !why.contains('\n')
            });
            assert!(named, "{broken}: {why:?}");
        }
        for (server, expected) in [
            ("https://api.example:6443", "DNS:api.example"),
            ("https://[fd00::1]:6443", "IP:fd00::1"),
            ("https://10.0.0.1", "IP:10.0.0.1"),
        ] {
            let read = cluster_info(&of(server));
            assert_eq!(
                (texts(&read), read.unreadable),
                (vec![expected.into()], None)
            );
        }
        let other = json!({"metadata": {"name": "cluster-info"}, "data": {"other": "["}});
        let read = identities(Kind::ConfigMap, other);
        assert_eq!((texts(&read), read.unreadable), (Vec::new(), None));
    }

    #[test]
    fn endpoints_may_be_names_and_are_unlimited() {
        let many: Vec<Value> = (1..=200)
            .map(|last| json!({"addresses": [format!("10.0.0.{last}")]}))
            .collect();
        let slice = |endpoints: Value| {
            identities(
                Kind::EndpointSlice,
                json!({
                    "metadata": {"namespace": "default", "name": "kubernetes"},
                    "addressType": "IPv4",
                    "endpoints": endpoints,
                    "ports": [{"port": 6443}],
                }),
            )
        };
        let read = slice(json!(many));
        assert_eq!((texts(&read).len(), read.servers.len()), (200, 200));
        let named = slice(json!([{"addresses": ["Api.Example."]}]));
        assert_eq!(texts(&named), ["DNS:api.example"]);
        let urls: Vec<String> = named.servers.iter().map(ApiServer::url).collect();
        assert_eq!(urls, ["https://api.example:6443"]);
        let unreadable = slice(json!([{"addresses": ["*"]}])).unreadable;
        assert_eq!(
            unreadable.as_deref(),
            Some("EndpointSlice default/kubernetes: expected a name or IP address, found `*`")
        );
    }

    #[test]
    fn a_load_balancer_of_the_service_identifies_the_api_server() {
        let read = identities(
            Kind::Service,
            json!({
                "metadata": {"namespace": "default", "name": "kubernetes"},
                "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]},
                "status": {"loadBalancer": {"ingress": [
                    {"ip": "192.0.2.7"}, {"hostname": "lb.example"},
                ]}},
            }),
        );
        let kinds: Vec<_> = read
            .protections
            .iter()
            .map(|protection| (protection.kind, protection.sans.len()))
            .collect();
        let expected = [
            (IdentityKind::Service, 2),
            (IdentityKind::ApiServerIdentity, 2),
        ];
        assert_eq!(kinds, expected);
        let own = "IP:10.96.0.1";
        assert_eq!(texts(&read), [own, own, "IP:192.0.2.7", "DNS:lb.example"]);
        assert_eq!(read.unreadable, None);
    }

    #[test]
    fn ipv4_mapped_service_networks_become_ipv4() {
        let read = |network: &str| {
            identities(
                Kind::ServiceCidr,
                json!({
                    "metadata": {"name": "a"},
                    "spec": {"cidrs": [network]},
                }),
            )
        };
        let read_as_ipv4 = read("::ffff:10.96.0.0/108");
        let networks = read_as_ipv4
            .protections
            .iter()
            .flat_map(|protection| &protection.networks);
        let networks: Vec<_> = networks.map(IpNet::to_string).collect();
        assert_eq!(networks, ["10.96.0.0/12"]);
        let unreadable = read("10.96.0.0").unreadable;
        let expected = "ServiceCIDR a: expected a network, found `10.96.0.0`";
        assert_eq!(unreadable.as_deref(), Some(expected));
    }
}
