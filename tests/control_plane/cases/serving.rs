//! The main task: kubelets make requests, csr-warden approves, the controller-manager signs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;

const SOON: Duration = Duration::from_secs(60);

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "two_hundred_kubelets_are_served",
        Needs::Nothing,
        two_hundred_kubelets_are_served,
    )]
}

async fn two_hundred_kubelets_are_served(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;

    let options = fleet::Options {
        dual_stack: true,
        dns_suffix: Some("nodes.example".into()),
        ..fleet::Options::nodes(200)
    };
    let mut fleet = Fleet::start(&assets, &cluster, &options)?;
    fleet.wait_all_issued(SOON).await?;
    let issued = fleet.latest();
    ensure!(
        issued.len() == 200,
        "{} of 200 nodes have one",
        issued.len()
    );
    let nodes: Api<Node> = Api::all(cluster.admin());
    for (name, issued) in &issued {
        let node = nodes.get(name).await?;
        let addresses = node
            .status
            .and_then(|status| status.addresses)
            .context("addresses")?;
        let wanted: BTreeSet<String> = addresses.into_iter().map(|one| one.address).collect();
        let found: BTreeSet<String> = issued.sans.iter().cloned().collect();
        ensure!(wanted == found, "{name}: {wanted:?}, but {found:?}");
    }

    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    ensure!(
        fleet.issued().len() == 400,
        "{} certificates",
        fleet.issued().len()
    );
    ensure!(fleet.errors().is_empty(), "{:?}", fleet.errors());
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
