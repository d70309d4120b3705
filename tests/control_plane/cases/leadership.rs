//! Several replicas, one that writes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{BINARY, Case, Needs};
use control_plane::GLANCE;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;

const SOON: Duration = Duration::from_secs(60);
/// How long a process may take to end.
const END: Duration = Duration::from_secs(5);
/// Longer than the Lease holds.
const FROZEN: Duration = Duration::from_secs(20);
/// How long the replicas are watched for a second leader.
const WATCHED: Duration = Duration::from_secs(5);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("leadership_is_handed_over", Needs::Nothing, is_handed_over),
        Case::new(
            "leadership_outlives_a_kill",
            Needs::Nothing,
            outlives_a_kill,
        ),
        Case::new(
            "leadership_ends_in_a_freeze",
            Needs::Nothing,
            ends_in_a_freeze,
        ),
        Case::new(
            "leadership_ends_with_the_lease",
            Needs::Nothing,
            ends_with_the_lease,
        ),
    ]
}

/// Two replicas, the leader first, and a fleet that has been served.
struct Pair {
    fleet: Fleet,
    leader: Daemon,
    standby: Daemon,
    cluster: Cluster,
}

impl Pair {
    async fn start(assets: &Assets, nodes: usize) -> Result<Self> {
        let cluster = Cluster::start(assets, Options::default()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let mut one = installation.start("one", &[])?;
        let mut two = installation.start("two", &[])?;
        one.wait_ready(SOON).await?;
        two.wait_ready(SOON).await?;
        let begun = Instant::now();
        let (leader, standby) = loop {
            match (one.leads().await?, two.leads().await?) {
                (true, false) => break (one, two),
                (false, true) => break (two, one),
                (true, true) => anyhow::bail!("both lead"),
                (false, false) => ensure!(begun.elapsed() < SOON, "nobody leads"),
            }
            tokio::time::sleep(GLANCE).await;
        };
        let mut fleet = Fleet::start(assets, &cluster, &fleet::Options::nodes(nodes))?;
        fleet.wait_all_issued(SOON).await?;
        Ok(Self {
            fleet,
            leader,
            standby,
            cluster,
        })
    }

    async fn standby_leads(&mut self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        while !self.standby.leads().await? {
            ensure!(begun.elapsed() < deadline, "the standby does not lead");
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Looks at both for a while.
    async fn never_both(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            let both = self.leader.leads().await? && self.standby.leads().await?;
            ensure!(!both, "both lead after {:?}", begun.elapsed());
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }
}

async fn is_handed_over(assets: Arc<Assets>) -> Result<()> {
    let mut pair = Pair::start(&assets, 50).await?;
    ensure!(
        pair.leader.written().await? == 50,
        "{}",
        pair.leader.written().await?
    );
    let idle = pair.standby.metric("csr_warden_writes_total").await?;
    ensure!(idle == 0, "the standby has tried {idle} writes");
    ensure!(
        pair.standby.stdout().lines().is_empty(),
        "the standby has decided"
    );

    let status = pair.leader.sigterm(END).await?;
    let ended = Instant::now();
    ensure!(status.code() == Some(0), "{status}");
    pair.fleet.rotate("node-1")?;
    pair.fleet.wait_issued("node-1", SOON).await?;
    let took = ended.elapsed();
    ensure!(
        took < Duration::from_secs(2),
        "served {took:?} after the leader's end"
    );
    ensure!(pair.standby.leads().await? && pair.standby.written().await? == 1);
    Ok(())
}

async fn outlives_a_kill(assets: Arc<Assets>) -> Result<()> {
    let mut pair = Pair::start(&assets, 20).await?;
    pair.leader.kill()?;
    pair.fleet.rotate_all()?;
    pair.fleet.wait_all_issued(SOON).await?;
    ensure!(pair.standby.leads().await?);
    let written = pair.standby.written().await?;
    ensure!(written == 20, "{written} written");
    Ok(())
}

async fn ends_in_a_freeze(assets: Arc<Assets>) -> Result<()> {
    let mut pair = Pair::start(&assets, 20).await?;
    let written = pair.leader.written().await?;
    pair.leader.pause()?;
    let paused = Instant::now();
    pair.standby_leads(SOON).await?;
    tokio::time::sleep(FROZEN.saturating_sub(paused.elapsed())).await;

    pair.fleet.rotate_all()?;
    pair.leader.resume()?;
    pair.never_both().await?;
    pair.fleet.wait_all_issued(SOON).await?;
    ensure!(!pair.leader.leads().await?, "the resumed one leads");
    let now = pair.leader.written().await?;
    ensure!(
        now == written,
        "the resumed one has written {}",
        now - written
    );
    let others = pair.standby.written().await?;
    ensure!(others == 20, "the new leader has written {others}");

    // It is no worse for it: when the other ends, it leads again.
    pair.standby.sigterm(END).await?;
    pair.fleet.rotate("node-1")?;
    pair.fleet.wait_issued("node-1", SOON).await?;
    ensure!(pair.leader.written().await? == written + 1);
    Ok(())
}

async fn ends_with_the_lease(assets: Arc<Assets>) -> Result<()> {
    let mut pair = Pair::start(&assets, 5).await?;
    let leases: Api<Lease> = Api::namespaced(pair.cluster.admin(), "kube-system");
    let edit = Patch::Merge(json!({"spec": {"holderIdentity": "an-administrator"}}));
    let params = PatchParams::default();
    leases.patch("csr-warden", &params, &edit).await?;
    pair.leader.wait_says("leads no more", SOON).await?;
    let before = (pair.leader.written().await?, pair.standby.written().await?);
    pair.fleet.rotate_all()?;
    // Until the Lease has run out nobody writes; then one does.
    let begun = Instant::now();
    loop {
        ensure!(begun.elapsed() < SOON, "nobody leads again");
        let now = (pair.leader.written().await?, pair.standby.written().await?);
        let led = (pair.leader.leads().await?, pair.standby.leads().await?);
        if led != (false, false) {
            break;
        }
        ensure!(now == before, "nobody leads, but {before:?} became {now:?}");
        tokio::time::sleep(GLANCE).await;
    }
    pair.never_both().await?;
    pair.fleet.wait_all_issued(SOON).await?;
    Ok(())
}
