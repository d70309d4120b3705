//! The csr-warden daemon on the embedded API server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use apiserver_sim::{Options, Server};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::Api;

use super::kubectl::node_asks;
use super::{client, write_kubeconfig};
use crate::BINARY;
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::node_user::settled;
use control_plane::ports;

const SOON: Duration = Duration::from_secs(60);

pub async fn approves(_: Arc<Assets>) -> Result<()> {
    let server = Server::start(Options::default()).await?;
    let dir = tempfile::tempdir()?;
    let kubeconfig = dir.path().join("admin.conf");
    write_kubeconfig(
        &server,
        "kubernetes-admin",
        &["system:masters"],
        &kubeconfig,
    )?;
    let [port] = ports::free::<1>()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let args = [
        "run".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--bind-address={address}"),
    ];
    let binary = Path::new(BINARY);
    let mut daemon = Daemon::start(binary, "embedded", dir.path(), address, args, [])?;
    daemon.wait_ready(SOON).await?;
    let node = client(&server, "system:node:node-1", &["system:nodes"]).await?;
    node_asks(&node, "node-1", "csr-1").await?;
    let admin = client(&server, "kubernetes-admin", &["system:masters"]).await?;
    let approved: CertificateSigningRequest = settled(&admin, "csr-1", "Approved").await?;
    println!("approved: {:?}", approved.status);
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::all(admin);
    daemon.sigterm(SOON).await?;
    let listed = events.list(&Default::default()).await?;
    println!("{} events", listed.items.len());
    server.stop().await;
    Ok(())
}
