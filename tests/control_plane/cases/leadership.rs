//! Several replicas with leader election, of which only the leader writes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{BINARY, Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;

const SOON: Duration = Duration::from_secs(60);
/// The deadline for a process to exit.
const END: Duration = Duration::from_secs(5);
/// A time longer than the duration of the Lease.
const FROZEN: Duration = Duration::from_secs(20);
/// The time for which the replicas are checked for a second leader.
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
struct TwoReplicas {
    fleet: Fleet,
    leader: Daemon,
    standby: Daemon,
    cluster: Cluster,
}

impl TwoReplicas {
    async fn start(assets: &Assets, nodes: usize) -> Result<Self> {
        let cluster = Cluster::start(assets, Options::default()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let mut one = installation.start("one", &[])?;
        let mut two = installation.start("two", &[])?;
        one.wait_ready(SOON).await?;
        two.wait_ready(SOON).await?;
        let begun = Instant::now();
        let (leader, standby) = loop {
            match (one.is_leader().await?, two.is_leader().await?) {
                (true, false) => break (one, two),
                (false, true) => break (two, one),
                (true, true) => anyhow::bail!("both lead"),
                (false, false) => ensure!(begun.elapsed() < SOON, "no replica leads"),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
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
        while !self.standby.is_leader().await? {
            ensure!(begun.elapsed() < deadline, "the standby does not lead");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Checks for a while that at most one replica leads.
    async fn never_both(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            let both = self.leader.is_leader().await? && self.standby.is_leader().await?;
            ensure!(!both, "both lead after {:?}", begun.elapsed());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

async fn is_handed_over(assets: Arc<Assets>) -> Result<()> {
    let mut replicas = TwoReplicas::start(&assets, 50).await?;
    ensure!(
        replicas.leader.written().await? == 50,
        "{}",
        replicas.leader.written().await?
    );
    let idle = replicas.standby.metric("csr_warden_writes_total").await?;
    ensure!(idle == 0, "the standby has tried {idle} writes");
    ensure!(
        replicas.standby.stdout().lines().is_empty(),
        "the standby has decided"
    );

    let status = replicas.leader.sigterm(END).await?;
    let ended = Instant::now();
    ensure!(status.code() == Some(0), "{status}");
    replicas.fleet.rotate("node-1")?;
    replicas.fleet.wait_issued("node-1", SOON).await?;
    let took = ended.elapsed();
    ensure!(
        took < Duration::from_secs(2),
        "served {took:?} after the leader's end"
    );
    ensure!(replicas.standby.is_leader().await? && replicas.standby.written().await? == 1);
    Ok(())
}

async fn outlives_a_kill(assets: Arc<Assets>) -> Result<()> {
    let mut replicas = TwoReplicas::start(&assets, 20).await?;
    replicas.leader.kill()?;
    replicas.fleet.rotate_all()?;
    replicas.fleet.wait_all_issued(SOON).await?;
    ensure!(replicas.standby.is_leader().await?);
    let written = replicas.standby.written().await?;
    ensure!(written == 20, "{written} written");
    Ok(())
}

async fn ends_in_a_freeze(assets: Arc<Assets>) -> Result<()> {
    let mut replicas = TwoReplicas::start(&assets, 20).await?;
    let written = replicas.leader.written().await?;
    replicas.leader.pause()?;
    let paused = Instant::now();
    replicas.standby_leads(SOON).await?;
    tokio::time::sleep(FROZEN.saturating_sub(paused.elapsed())).await;

    replicas.fleet.rotate_all()?;
    replicas.leader.resume()?;
    replicas.never_both().await?;
    replicas.fleet.wait_all_issued(SOON).await?;
    ensure!(!replicas.leader.is_leader().await?, "the resumed one leads");
    let now = replicas.leader.written().await?;
    ensure!(
        now == written,
        "the resumed one has written {}",
        now - written
    );
    let others = replicas.standby.written().await?;
    ensure!(others == 20, "the new leader has written {others}");

    // It still works: when the other replica stops, it leads again.
    replicas.standby.sigterm(END).await?;
    replicas.fleet.rotate("node-1")?;
    replicas.fleet.wait_issued("node-1", SOON).await?;
    ensure!(replicas.leader.written().await? == written + 1);
    Ok(())
}

async fn ends_with_the_lease(assets: Arc<Assets>) -> Result<()> {
    let mut replicas = TwoReplicas::start(&assets, 5).await?;
    let leases: Api<Lease> = Api::namespaced(replicas.cluster.admin(), "kube-system");
    let edit = Patch::Merge(json!({"spec": {"holderIdentity": "an-administrator"}}));
    let params = PatchParams::default();
    leases.patch("csr-warden", &params, &edit).await?;
    replicas
        .leader
        .wait_for_log("lost leadership", SOON)
        .await?;
    let before = (
        replicas.leader.written().await?,
        replicas.standby.written().await?,
    );
    replicas.fleet.rotate_all()?;
    // No replica writes until the Lease has expired. Then one does.
    let begun = Instant::now();
    loop {
        ensure!(begun.elapsed() < SOON, "no replica leads again");
        let now = (
            replicas.leader.written().await?,
            replicas.standby.written().await?,
        );
        let led = (
            replicas.leader.is_leader().await?,
            replicas.standby.is_leader().await?,
        );
        if led != (false, false) {
            break;
        }
        ensure!(
            now == before,
            "no replica leads, but {before:?} became {now:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    replicas.never_both().await?;
    replicas.fleet.wait_all_issued(SOON).await?;
    Ok(())
}
