//! Control-plane nodes: one that joins, addresses that only its own API server's certificate lists, and a
//! virtual address, also while an API server is away.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;

use super::test_cluster::{SOON, TestCluster};
use super::vectors::environment::endpoint_slice;
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::decision_log;
use control_plane::fake_api_server::FakeApiServer;
use control_plane::netns;
use control_plane::node_user::{NewRequest, NodeUser};
use testkit::forge::Recipe;

/// The address by which clients reach the control plane.
const VIRTUAL: &str = "10.0.0.200";
const NAME: &str = "api-int.corp.example";
pub const LABEL: &str = "node-role.kubernetes.io/control-plane=";

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "control_planes_have_what_is_their_own",
        Needs::OwnNetwork,
        have_what_is_their_own,
    )]
}

/// Starts an API server at this address, in an EndpointSlice of its own. As those of Talos, its certificate
/// lists all addresses of the machine, and the virtual one.
async fn api_server(
    test: &TestCluster,
    node: &str,
    own: &str,
    external: &str,
) -> Result<FakeApiServer> {
    let at: Ipv4Addr = own.parse()?;
    netns::add(at)?;
    let dns = ["kubernetes.default.svc", NAME, node].map(str::to_owned);
    let ips = [own.parse()?, external.parse()?, VIRTUAL.parse()?];
    let server = FakeApiServer::start(test.cluster.authority(), at.into(), &dns, &ips).await?;
    let port = json!([{"name": "https", "port": server.address().port()}]);
    let slice = endpoint_slice(node, "IPv4", &json!([own]), &port);
    test.cluster.apply(&slice.to_string()).await?;
    Ok(server)
}

async fn ask(user: &NodeUser, request: &str, dns: &[&str], ips: &[&str]) -> Result<()> {
    let ips: Vec<_> = ips.iter().map(|ip| ip.parse()).collect::<Result<_, _>>()?;
    let names: Vec<&str> = std::iter::once(user.name.as_str())
        .chain(dns.iter().copied())
        .collect();
    let pem = Recipe::genuine(&user.name, &names, &ips).pem();
    user.post(&NewRequest::new(request, pem)).await?;
    Ok(())
}

/// Waits until a request of this node's kubelet waits for exactly these codes.
pub async fn asks_and_waits(daemon: &Daemon, node: &str, codes: &[&str]) -> Result<()> {
    let requestor = format!("system:node:{node}");
    let waits = daemon.stdout().find(SOON, |line| {
        let decision = decision_log::parse(line).filter(|one| one.requestor == requestor)?;
        (decision.verdict == "Wait" && decision.codes == codes).then_some(())
    });
    ensure!(
        waits.await.is_some(),
        "{node}: expected Wait {codes:?}, found {:?}",
        decision_log::all(daemon.stdout())
    );
    Ok(())
}

async fn have_what_is_their_own(assets: Arc<Assets>) -> Result<()> {
    let test = TestCluster::new(&assets).await?;
    let _servers = [
        api_server(&test, "cp-1", "10.0.0.101", "203.0.113.101").await?,
        api_server(&test, "cp-2", "10.0.0.102", "203.0.113.102").await?,
    ];
    let first = test
        .node("cp-1", &["10.0.0.101", "203.0.113.101", VIRTUAL])
        .await?;
    first
        .report(&[
            "Hostname cp-1",
            "InternalIP 10.0.0.101",
            "ExternalIP 203.0.113.101",
            &format!("InternalIP {VIRTUAL}"),
            &format!("ExternalDNS {NAME}"),
        ])
        .await?;
    test.node("cp-2", &["10.0.0.102"]).await?;
    for node in ["cp-1", "cp-2"] {
        test.cluster
            .kubectl(&["label", "node", node, LABEL])
            .await?;
    }
    let mut daemon = test.installation.start("one", &[])?;
    daemon.wait_ready(SOON).await?;

    let own = ["10.0.0.101", "203.0.113.101"];
    ask(&first, "own", &[], &own).await?;
    test.is_approved("own").await?;
    let not_allowed = ["SanApiServerIdentityNotAllowed"];
    ask(&first, "virtual", &[NAME], &["10.0.0.101", VIRTUAL]).await?;
    test.waits(&daemon, "virtual", &not_allowed).await?;

    // The other API server restarts: what its certificate held is not cp-1's alone.
    test.cluster
        .kubectl(&["delete", "endpointslice", "--namespace", "default", "cp-2"])
        .await?;
    ask(&first, "virtual-alone", &[NAME], &["10.0.0.101", VIRTUAL]).await?;
    test.waits(&daemon, "virtual-alone", &not_allowed).await?;
    for request in ["virtual", "virtual-alone"] {
        test.has_no_conditions(request).await?;
    }

    // A node joins: its API server, then its kubelet, then its label.
    let _third = api_server(&test, "cp-3", "10.0.0.103", "203.0.113.103").await?;
    let third = test.node("cp-3", &["10.0.0.103", "203.0.113.103"]).await?;
    ask(&third, "joins", &[], &["10.0.0.103", "203.0.113.103"]).await?;
    let unowned = ["SanApiServerIdentityUnowned", "SanApiServerEndpointUnowned"];
    test.waits(&daemon, "joins", &unowned).await?;
    test.cluster
        .kubectl(&["label", "node", "cp-3", LABEL])
        .await?;
    test.is_approved("joins").await?;
    daemon.sigterm(SOON).await?;

    let policy = test.cluster.dir().join("policy.yaml");
    std::fs::write(
        &policy,
        format!(
            "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {{name: virtual}}\nspec:\n  \
             protected:\n    allowed:\n    - {{nodes: ControlPlane, sans: [{VIRTUAL}, {NAME}]}}\n"
        ),
    )?;
    let policy = policy.display().to_string();
    let mut daemon = test.installation.start("two", &["--policy", &policy])?;
    daemon.wait_ready(SOON).await?;
    test.is_approved("virtual").await?;
    daemon.sigterm(SOON).await?;
    Ok(())
}
