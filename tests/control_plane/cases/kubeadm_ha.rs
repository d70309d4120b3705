//! Control planes of kubeadm with several API servers behind a virtual address, which is their
//! `controlPlaneEndpoint` and moves between their nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use serde_json::json;

use super::control_planes::{LABEL, asks_and_waits};
use super::test_cluster::{SOON, TestCluster};
use super::vectors::environment::publish_cluster_info;
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::bound_token::BoundToken;
use control_plane::cluster::Options;
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::netns;
use control_plane::node_user::NodeUser;
use control_plane::process::Process;
use control_plane::tcp_relay::TcpRelay;

/// The virtual address, at which clients reach the control plane.
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
/// The address of the stolen worker.
const STOLEN: &str = "10.88.0.66";
const NOT_ALLOWED: [&str; 1] = ["SanApiServerIdentityNotAllowed"];

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "kubeadm_with_a_virtual_address",
        Needs::OwnNetwork,
        all_nodes_are_served,
    )]
}

/// The address that the fleet gives to control-plane node `cp-INDEX`.
fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 128, 0, index + 1)
}

/// The names that kubeadm adds to this node's API server's certificate.
fn extra_sans(index: u8) -> Vec<String> {
    vec![format!("cp-{index}"), VIRTUAL.to_string()]
}

/// A cluster, of which all kubelets and csr-warden use the virtual address.
struct Ha {
    assets: Arc<Assets>,
    test: TestCluster,
    /// The virtual address: it forwards to the API server of its holder.
    virtual_address: TcpRelay,
    installation: Installation,
    api_servers: Vec<Process>,
}

async fn all_nodes_are_served(assets: Arc<Assets>) -> Result<()> {
    let mut ha = Ha::start(assets).await?;
    let mut daemon = ha.start_daemon("one", &[]).await?;
    let stolen = ha.test.node("stolen", &[STOLEN]).await?;
    let mut control_plane = ha.fleet("cp", 1, 3)?;
    let mut workers = ha.fleet("worker", 11, 2)?;
    for index in 1..=3 {
        ha.label(index).await?;
    }
    for fleet in [&mut control_plane, &mut workers] {
        fleet.wait_all_issued(SOON).await?;
    }

    // A node joins: its API server, then its kubelet, then its label.
    ha.start_api_server(4).await?;
    let mut joining = ha.fleet("cp", 4, 1)?;
    let unowned = ["SanApiServerIdentityUnowned", "SanApiServerEndpointUnowned"];
    asks_and_waits(&daemon, "cp-4", &unowned).await?;
    ha.label(4).await?;
    joining.wait_all_issued(SOON).await?;

    // No Node lists the virtual address. It moves, and all renew.
    for holder in [2, 4] {
        ha.move_to(holder)?;
        for fleet in [&mut control_plane, &mut workers, &mut joining] {
            fleet.rotate_all()?;
            fleet.wait_all_issued(SOON).await?;
        }
        ha.steals_nothing(&daemon, &stolen, &format!("one-{holder}"))
            .await?;
    }

    // The kubelet of the next holder reports it, which the default policy does not allow.
    let with_virtual = |index| [address(index), VIRTUAL].map(|ip| ip.to_string());
    let [own, shared] = with_virtual(1);
    control_plane.set_addresses("cp-1", &[&own, &shared])?;
    asks_and_waits(&daemon, "cp-1", &NOT_ALLOWED).await?;
    ha.move_to(1)?;
    workers.rotate_all()?;
    workers.wait_all_issued(SOON).await?;
    daemon.sigterm(SOON).await?;

    let policy = ha.test.cluster.dir().join("policy.yaml");
    std::fs::write(
        &policy,
        format!(
            "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {{name: virtual}}\nspec:\n  \
             protected:\n    allowed:\n    - {{nodes: ControlPlane, sans: [{VIRTUAL}]}}\n"
        ),
    )?;
    let policy = policy.display().to_string();
    let mut daemon = ha.start_daemon("two", &["--policy", &policy]).await?;
    control_plane.wait_all_issued(SOON).await?;
    ha.steals_nothing(&daemon, &stolen, "two-1").await?;

    // It moves to another node. The first one lists it for a while, and renews.
    let [own, shared] = with_virtual(2);
    control_plane.set_addresses("cp-2", &[&own, &shared])?;
    control_plane.rotate("cp-1")?;
    for node in ["cp-1", "cp-2"] {
        let issued = control_plane.wait_issued(node, SOON).await?;
        ensure!(issued.sans.contains(&shared), "{issued:?}");
    }
    control_plane.set_addresses("cp-1", &[&address(1).to_string()])?;
    let issued = control_plane.wait_issued("cp-1", SOON).await?;
    ensure!(!issued.sans.contains(&shared), "{issued:?}");
    ha.move_to(2)?;

    ha.steals_nothing(&daemon, &stolen, "two-2").await?;
    for fleet in [&mut control_plane, &mut workers, &mut joining] {
        fleet.rotate_all()?;
        fleet.wait_all_issued(SOON).await?;
    }
    daemon.sigterm(SOON).await?;
    for server in &mut ha.api_servers {
        server.must_run()?;
    }
    Ok(())
}

impl Ha {
    /// Starts three API servers, and publishes the virtual address.
    async fn start(assets: Arc<Assets>) -> Result<Self> {
        let first = address(1);
        netns::add(first)?;
        netns::add(VIRTUAL)?;
        let options = Options {
            advertise: Some(first),
            loopback: false,
            extra_sans: extra_sans(1),
            api_server_args: vec![format!("--bind-address={first}")],
            ..Options::default()
        };
        let test = TestCluster::with(&assets, options).await?;
        let server: SocketAddr = test
            .cluster
            .server()
            .trim_start_matches("https://")
            .parse()?;
        let virtual_address = SocketAddr::from((VIRTUAL, server.port()));
        let virtual_address = TcpRelay::at(virtual_address, test.cluster.server()).await?;
        let endpoint = virtual_address.server();
        publish_cluster_info(&test.cluster, &[&endpoint]).await?;
        let configuration = json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "controlPlaneEndpoint": virtual_address.address().to_string(),
        });
        let published = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
            "data": {"ClusterConfiguration": configuration.to_string()},
        });
        test.cluster.apply(&published.to_string()).await?;
        let token = BoundToken::create(&test.cluster).await?;
        let installation = test
            .installation
            .through(&test.cluster, &endpoint, &token)?;
        let mut ha = Self {
            assets,
            test,
            virtual_address,
            installation,
            api_servers: Vec::new(),
        };
        for index in [2, 3] {
            ha.start_api_server(index).await?;
        }
        Ok(ha)
    }

    async fn start_daemon(&self, name: &str, args: &[&str]) -> Result<Daemon> {
        let mut daemon = self.installation.start(name, args)?;
        daemon.wait_ready(SOON).await?;
        Ok(daemon)
    }

    fn fleet(&self, prefix: &str, first_index: usize, nodes: usize) -> Result<Fleet> {
        let options = fleet::Options {
            first_index,
            prefix: prefix.into(),
            server: Some(self.virtual_address.server()),
            ..fleet::Options::nodes(nodes)
        };
        Fleet::start(&self.assets, &self.test.cluster, &options)
    }

    /// Starts an API server, and waits until it has published its endpoint.
    async fn start_api_server(&mut self, index: u8) -> Result<()> {
        let at = address(index);
        netns::add(at)?;
        let cluster = &self.test.cluster;
        let server = cluster.start_api_server(&self.assets, at, extra_sans(index))?;
        self.api_servers.push(server);
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.test.admin.clone());
        let begun = Instant::now();
        loop {
            let slice = slices.get("kubernetes").await?;
            let mut addresses = slice.endpoints.iter().flat_map(|one| &one.addresses);
            if addresses.any(|one| *one == at.to_string()) {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "no endpoint {at}: {slice:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Labels a control-plane node as soon as it is registered.
    async fn label(&self, index: u8) -> Result<()> {
        let name = format!("cp-{index}");
        let nodes: Api<Node> = Api::all(self.test.admin.clone());
        let begun = Instant::now();
        while nodes.get_opt(&name).await?.is_none() {
            ensure!(begun.elapsed() < SOON, "no Node {name}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let label = ["label", "node", &name, LABEL];
        self.test.cluster.kubectl(&label).await?;
        Ok(())
    }

    /// Moves the virtual address to this control-plane node.
    fn move_to(&self, index: u8) -> Result<()> {
        let port = self.virtual_address.address().port();
        self.virtual_address
            .move_to(&format!("https://{}:{port}", address(index)))
    }

    /// A stolen worker claims the virtual address and an API server's own one, and asks for them.
    async fn steals_nothing(&self, daemon: &Daemon, stolen: &NodeUser, round: &str) -> Result<()> {
        let endpoint = IpAddr::from(address(2)).to_string();
        let shared = VIRTUAL.to_string();
        let reported = [STOLEN, &shared, &endpoint].map(|ip| format!("InternalIP {ip}"));
        let hostname = ["Hostname stolen".to_owned()];
        stolen
            .report(&[&hostname[..], &reported[..]].concat())
            .await?;
        for (name, ip, code) in [
            ("virtual", &shared, "SanApiServerIdentity"),
            ("endpoint", &endpoint, "SanApiServerEndpoint"),
        ] {
            let request = format!("stolen-{name}-{round}");
            self.test.ask(stolen, &request, &[STOLEN, ip]).await?;
            self.test.is_denied(daemon, &request, &[code]).await?;
        }
        Ok(())
    }
}
