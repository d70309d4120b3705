//! The faults that a real control plane can be given, too.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::leadership;
use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, one_endures};
use crate::test_cluster::Stage;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::https::Https;
use control_plane::process::Process;
use control_plane::tcp_relay::Link;

/// How often connections are reset, or etcd is compacted.
const EVERY: Duration = Duration::from_secs(1);
/// How long a watch lasts (`cluster::watch::TIMEOUT_SECONDS`), with the time to take it up again.
const WATCH: Duration = Duration::from_secs(65);
/// How late each answer of a slow API server is.
const LATE: Duration = Duration::from_secs(1);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "real_api_server_killed",
            "the API server is killed (SIGKILL), and started again",
            |numbers| out_of_service(numbers, |cluster| &mut cluster.api_server, Ill::Killed),
        ),
        Case::new(
            "real_api_server_paused",
            "the API server stands still (SIGSTOP)",
            |numbers| out_of_service(numbers, |cluster| &mut cluster.api_server, Ill::Paused),
        ),
        Case::new(
            "real_etcd_restarted",
            "etcd is killed (SIGKILL), and started again",
            |numbers| out_of_service(numbers, |cluster| &mut cluster.etcd, Ill::Killed),
        ),
        Case::new(
            "real_etcd_compacted",
            "etcd is compacted every second, without the watch cache, for longer than a watch lasts",
            etcd_compacted,
        ),
        Case::new(
            "real_link_cut",
            "every connection of the daemon is closed, and each new one",
            |numbers| link(numbers, Link::cut),
        ),
        Case::new(
            "real_half_open",
            "every connection of the daemon stays open and carries nothing any more, nor does a new one",
            |numbers| link(numbers, Link::silence),
        ),
        Case::new("real_slow", "every answer comes a second late", slow),
        Case::new(
            "real_leader_paused",
            "the leader stands still (SIGSTOP) for longer than its Lease, then goes on",
            |numbers| async move { leadership::paused(stage(Options::default()).await?, numbers).await },
        ),
        Case::new(
            "real_leader_killed",
            "the leader is killed",
            |numbers| async move { leadership::killed(stage(Options::default()).await?, numbers).await },
        ),
    ]
}

pub async fn stage(options: Options) -> Result<Stage> {
    let assets = Assets::find()?;
    Stage::real(&assets, options).await
}

/// How a component does not work.
#[derive(Clone, Copy)]
enum Ill {
    Killed,
    Paused,
}

async fn out_of_service(
    numbers: Numbers,
    component: fn(&mut Cluster) -> &mut Process,
    ill: Ill,
) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let cluster = stage.cluster()?;
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
        Ill::Killed => numbers.fault,
        Ill::Paused => numbers.pause,
    };
    one_endures(stage, &numbers, lasts, during).await
}

async fn etcd_compacted(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options {
        api_server_args: vec!["--watch-cache=false".into()],
        ..Options::default()
    })
    .await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let etcd = stage.cluster()?.etcd_store();
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            etcd.compact().await?;
            sleep(EVERY).await;
        }
        Ok(())
    };
    one_endures(stage, &numbers, WATCH, during).await
}

async fn link(numbers: Numbers, breaks: fn(&Link)) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        breaks(stage.link()?);
        sleep(lasts).await;
        stage.link()?.mend();
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

/// Late is not ill: the daemon must go on with its work.
async fn slow(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let written = stage.replicas[0].written().await?;
        stage.link()?.delay(LATE);
        let ca = stage.cluster()?.authority().pair().cert;
        let near = Https::new(stage.link()?.address(), &ca)?;
        let begun = Instant::now();
        near.get("/version", None).await?;
        let took = begun.elapsed();
        ensure!(took > LATE, "an answer after {took:?}");
        sleep(lasts).await;
        let more = stage.replicas[0].written().await? - written;
        ensure!(more > 0, "nothing was written meanwhile");
        ensure!(stage.replicas[0].leads().await?, "it leads no more");
        stage.link()?.delay(Duration::ZERO);
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}
