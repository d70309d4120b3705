//! A cluster of two IP families: its nodes, its API server and its network of Services.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::Api;
use serde_json::json;

use super::control_planes::{LABEL, asks_and_waits};
use super::test_cluster::{SOON, TestCluster};
use super::vectors::environment::endpoint_slice;
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::Options;
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::netns;
use control_plane::node_user::NodeUser;

/// The addresses of the API server, which the fleet gives to its first node.
const API_SERVER: (Ipv4Addr, &str) = (Ipv4Addr::new(10, 128, 0, 2), "fd00:128::1");
/// The networks of Services, and an address of the second one beside that of `kubernetes`.
const SERVICES: [&str; 2] = ["10.96.0.0/16", "fd00:96::/112"];
const SERVICE: &str = "fd00:96::a";
/// The second address of the first worker.
const WORKER: &str = "fd00:128::2";
/// The addresses of the stolen worker.
const STOLEN: [&str; 2] = ["10.88.0.66", "fd00:88::66"];

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "dual_stack",
        Needs::OwnNetwork,
        all_nodes_are_served,
    )]
}

async fn all_nodes_are_served(assets: Arc<Assets>) -> Result<()> {
    let (first, second) = API_SERVER;
    netns::add(first)?;
    netns::add(second.parse::<IpAddr>()?)?;
    let options = Options {
        advertise: Some(first),
        loopback: false,
        extra_sans: ["cp-1", second].map(String::from).into(),
        service_cidr: SERVICES.join(","),
        api_server_args: vec!["--bind-address=::".into()],
        ..Options::default()
    };
    let test = TestCluster::with(&assets, options).await?;
    let networks: Api<ServiceCIDR> = Api::all(test.admin.clone());
    let networks = networks.get("kubernetes").await?.spec;
    let networks = networks.and_then(|spec| spec.cidrs);
    ensure!(networks == Some(SERVICES.map(String::from).into()));

    let mut daemon = test.installation.start("one", &[])?;
    daemon.wait_ready(SOON).await?;
    let dual_stack = |prefix: &str, first_index, nodes| fleet::Options {
        first_index,
        prefix: prefix.into(),
        dual_stack: true,
        ..fleet::Options::nodes(nodes)
    };
    let mut control_plane = Fleet::start(&assets, &test.cluster, &dual_stack("cp", 1, 1))?;
    let mut workers = Fleet::start(&assets, &test.cluster, &dual_stack("worker", 2, 3))?;
    workers.wait_all_issued(SOON).await?;
    let unowned = ["SanApiServerIdentityUnowned", "SanApiServerEndpointUnowned"];
    asks_and_waits(&daemon, "cp-1", &unowned).await?;
    test.cluster
        .kubectl(&["label", "node", "cp-1", LABEL])
        .await?;
    let issued = control_plane.wait_issued("cp-1", SOON).await?;
    ensure!(issued.sans == ["cp-1", "10.128.0.2", second], "{issued:?}");
    for fleet in [&mut control_plane, &mut workers] {
        fleet.rotate_all()?;
        fleet.wait_all_issued(SOON).await?;
    }

    let stolen = test.node("stolen", &STOLEN).await?;
    steals_nothing(&test, &daemon, &stolen, "first").await?;
    for fleet in [&mut control_plane, &mut workers] {
        fleet.rotate_all()?;
        fleet.wait_all_issued(SOON).await?;
    }
    daemon.sigterm(SOON).await?;

    // As some distributions do, and over a restart.
    let server = test.cluster.server().rsplit_once(':');
    let port: Option<u16> = server.and_then(|(_, port)| port.parse().ok());
    let port = json!([{"name": "https", "port": port}]);
    let slice = endpoint_slice("kubernetes-v6", "IPv6", &json!([second]), &port);
    test.cluster.apply(&slice.to_string()).await?;
    let mut daemon = test.installation.start("two", &[])?;
    daemon.wait_ready(SOON).await?;
    for fleet in [&mut control_plane, &mut workers] {
        fleet.rotate_all()?;
        fleet.wait_all_issued(SOON).await?;
    }
    steals_nothing(&test, &daemon, &stolen, "second").await?;
    daemon.sigterm(SOON).await?;
    ensure!(workers.issued().len() == 4 * 3, "{:?}", workers.issued());
    Ok(())
}

/// A stolen worker claims addresses of the second family, and asks for them.
async fn steals_nothing(
    test: &TestCluster,
    daemon: &Daemon,
    stolen: &NodeUser,
    round: &str,
) -> Result<()> {
    let (_, second) = API_SERVER;
    let all = STOLEN.into_iter().chain([second, SERVICE, WORKER]);
    let mut all: Vec<String> = all.map(|ip| format!("InternalIP {ip}")).collect();
    all.push("Hostname stolen".into());
    stolen.report(&all).await?;
    let endpoint: &[&str] = match round {
        "first" => &["SanApiServerIdentity"],
        _ => &["SanApiServerEndpoint"],
    };
    for (name, ip, codes) in [
        ("api-server", second, endpoint),
        ("service", SERVICE, &["SanServiceAddress"]),
    ] {
        let request = format!("stolen-{name}-{round}");
        test.ask(stolen, &request, &[STOLEN[0], STOLEN[1], ip])
            .await?;
        test.is_denied(daemon, &request, codes).await?;
    }
    let request = format!("stolen-worker-{round}");
    test.ask(stolen, &request, &[STOLEN[0], STOLEN[1], WORKER])
        .await?;
    test.waits(daemon, &request, &["SanContested"]).await?;
    test.has_no_conditions(&request).await
}
