//! The faults that a real control plane can be given, too.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::leaders;
use crate::Case;
use crate::harness::assets::Assets;
use crate::harness::cluster::{Options, START_DEADLINE};
use crate::numbers::Numbers;
use crate::ordeal::{Seen, one_endures};
use crate::stage::Stage;

/// How often connections are reset, or etcd is compacted.
const EVERY: Duration = Duration::from_secs(1);
/// How long a watch lasts (`cluster::watch::LASTS`), with the time to take it up again.
const WATCH: Duration = Duration::from_secs(65);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "real_api_server_killed",
            "the API server is killed (SIGKILL), and started again",
            api_server_killed,
        ),
        Case::new(
            "real_api_server_paused",
            "the API server stands still (SIGSTOP)",
            api_server_paused,
        ),
        Case::new(
            "real_etcd_restarted",
            "etcd is killed (SIGKILL), and started again",
            etcd_restarted,
        ),
        Case::new(
            "real_etcd_compacted",
            "etcd is compacted every second, without the watch cache, for longer than a watch lasts",
            etcd_compacted,
        ),
        Case::new(
            "real_link_cut",
            "every connection of the daemon is closed, and each new one",
            link_cut,
        ),
        Case::new(
            "real_half_open",
            "every connection of the daemon stays open and carries nothing any more, nor does a new one",
            half_open,
        ),
        Case::new(
            "real_leader_paused",
            "the leader stands still (SIGSTOP) for longer than its Lease, then goes on",
            |numbers| async move { leaders::paused(stage(Options::default()).await?, numbers).await },
        ),
        Case::new(
            "real_leader_killed",
            "the leader is killed",
            |numbers| async move { leaders::killed(stage(Options::default()).await?, numbers).await },
        ),
    ]
}

async fn stage(options: Options) -> Result<Stage> {
    let assets = Assets::find()?;
    Stage::real(&assets, options).await
}

async fn api_server_killed(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let cluster = stage.cluster()?;
        cluster.api_server.kill()?;
        sleep(lasts).await;
        cluster.api_server.start()?;
        cluster.ready(START_DEADLINE).await
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn api_server_paused(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let cluster = stage.cluster()?;
        cluster.api_server.pause()?;
        sleep(lasts).await;
        cluster.api_server.resume()?;
        cluster.ready(START_DEADLINE).await
    };
    one_endures(stage, &numbers, numbers.pause, during).await
}

async fn etcd_restarted(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let cluster = stage.cluster()?;
        cluster.etcd.kill()?;
        sleep(lasts).await;
        cluster.etcd.start()?;
        cluster.ready(START_DEADLINE).await
    };
    one_endures(stage, &numbers, numbers.fault, during).await
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

async fn link_cut(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.link()?.cut();
        sleep(lasts).await;
        stage.link()?.mend();
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn half_open(numbers: Numbers) -> Result<Seen> {
    let stage = stage(Options::default()).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.link()?.silence();
        sleep(lasts).await;
        stage.link()?.mend();
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}
