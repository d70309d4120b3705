//! Faults that also apply to a real control plane.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::leadership;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::https::Https;
use control_plane::process::Process;
use control_plane::tcp_relay::TcpRelay;

/// The interval of connection resets, or of compactions of etcd.
const EVERY: Duration = Duration::from_secs(1);
/// The timeout of a watch (`cluster::watch::TIMEOUT_SECONDS`), plus the time to restart it.
const WATCH: Duration = Duration::from_secs(65);
/// The delay of each response of a slow API server.
const LATE: Duration = Duration::from_secs(1);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "real_api_server_killed",
            "the API server is killed (SIGKILL), and started again",
            |scale| out_of_service(scale, |cluster| &mut cluster.api_server, Ill::Killed),
        ),
        Case::new(
            "real_api_server_paused",
            "the API server is paused (SIGSTOP)",
            |scale| out_of_service(scale, |cluster| &mut cluster.api_server, Ill::Paused),
        ),
        Case::new(
            "real_etcd_restarted",
            "etcd is killed (SIGKILL), and started again",
            |scale| out_of_service(scale, |cluster| &mut cluster.etcd, Ill::Killed),
        ),
        Case::new(
            "real_etcd_compacted",
            "etcd is compacted every second, without the watch cache, for longer than a watch lasts",
            etcd_compacted,
        ),
        Case::new(
            "real_link_cut",
            "every connection of the daemon is closed, and each new one",
            |scale| relay(scale, TcpRelay::cut),
        ),
        Case::new(
            "real_half_open",
            "every connection of the daemon stays open and carries no more data, nor does a new one",
            |scale| relay(scale, TcpRelay::silence),
        ),
        Case::new("real_slow", "every answer comes a second late", slow),
        Case::new(
            "real_leader_paused",
            "the leader is paused (SIGSTOP) for longer than its Lease, then continues",
            |scale| async move {
                leadership::paused(test_cluster(Options::default()).await?, scale).await
            },
        ),
        Case::new(
            "real_leader_killed",
            "the leader is killed",
            |scale| async move {
                leadership::killed(test_cluster(Options::default()).await?, scale).await
            },
        ),
    ]
}

pub async fn test_cluster(options: Options) -> Result<TestCluster> {
    let assets = Assets::find()?;
    TestCluster::real(&assets, options).await
}

/// A failure mode of a component.
#[derive(Clone, Copy)]
enum Ill {
    Killed,
    Paused,
}

async fn out_of_service(
    scale: Scale,
    component: fn(&mut Cluster) -> &mut Process,
    ill: Ill,
) -> Result<Measured> {
    let test_cluster = test_cluster(Options::default()).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let cluster = test_cluster.cluster()?;
        match ill {
            Ill::Killed => component(cluster).kill()?,
            Ill::Paused => component(cluster).pause()?,
        }
        sleep(lasts).await;
        match ill {
            Ill::Killed => component(cluster).start()?,
            Ill::Paused => component(cluster).resume()?,
        }
        cluster.ready(START_DEADLINE).await
    };
    let lasts = match ill {
        Ill::Killed => scale.fault,
        Ill::Paused => scale.pause,
    };
    run_one_replica(test_cluster, &scale, lasts, during).await
}

async fn etcd_compacted(scale: Scale) -> Result<Measured> {
    let test_cluster = test_cluster(Options {
        api_server_args: vec!["--watch-cache=false".into()],
        ..Options::default()
    })
    .await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let etcd = test_cluster.cluster()?.etcd_store();
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            etcd.compact().await?;
            sleep(EVERY).await;
        }
        Ok(())
    };
    run_one_replica(test_cluster, &scale, WATCH, during).await
}

async fn relay(scale: Scale, breaks: fn(&TcpRelay)) -> Result<Measured> {
    let test_cluster = test_cluster(Options::default()).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        breaks(test_cluster.relay()?);
        sleep(lasts).await;
        test_cluster.relay()?.restore();
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

/// A slow API server is not a failure: the daemon must keep working.
async fn slow(scale: Scale) -> Result<Measured> {
    let test_cluster = test_cluster(Options::default()).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let written = test_cluster.replicas[0].written().await?;
        test_cluster.relay()?.delay(LATE);
        let ca = test_cluster.cluster()?.authority().pair().cert;
        let near = Https::new(test_cluster.relay()?.address(), &ca)?;
        let begun = Instant::now();
        near.get("/version", None).await?;
        let took = begun.elapsed();
        ensure!(took > LATE, "an answer after {took:?}");
        sleep(lasts).await;
        let more = test_cluster.replicas[0].written().await? - written;
        ensure!(more > 0, "nothing was written meanwhile");
        ensure!(
            test_cluster.replicas[0].is_leader().await?,
            "it lost leadership"
        );
        test_cluster.relay()?.delay(Duration::ZERO);
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}
