//! Watches that end, and events that are late, duplicated, reordered or missing.

use std::time::Duration;

use anyhow::Result;
use apiserver_sim::{Fault, Faults};
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;

/// The interval of closing watches, or of compactions.
const EVERY: Duration = Duration::from_millis(300);

pub fn cases() -> Vec<Case> {
    let compacted = |server: &apiserver_sim::Server| {
        server.compact();
        server.drop_watches();
    };
    vec![
        case(
            "embedded_events_twice",
            "each event of a watch comes twice",
            || Fault::Duplicate,
        ),
        case(
            "embedded_events_out_of_order",
            "neighboring events of a watch change places",
            || Fault::Reorder,
        ),
        case(
            "embedded_events_late",
            "each event of a watch comes two seconds late",
            || Fault::Late(Duration::from_secs(2)),
        ),
        case(
            "embedded_watches_cut",
            "each watch is cut off after three events",
            || Fault::DropWatch(3),
        ),
        Case::new(
            "embedded_watches_closed",
            "all watches are closed, three times a second",
            |scale| repeated(scale, |server| server.drop_watches()),
        ),
        Case::new(
            "embedded_compacted",
            "the history is compacted and all watches are closed, three times a second, so that \
             they are answered with 410",
            move |scale| repeated(scale, compacted),
        ),
    ]
}

fn case(name: &'static str, fault: &'static str, each: fn() -> Fault) -> Case {
    Case::new(name, fault, move |scale| watched(scale, each()))
}

async fn watched(scale: Scale, fault: Fault) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let server = test_cluster.server()?;
        server.set_faults(Faults::default().with(fault, 1.0, "watch", ""));
        server.drop_watches();
        sleep(lasts).await;
        server.set_faults(Faults::default());
        server.drop_watches();
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

async fn repeated(scale: Scale, fault: impl Fn(&apiserver_sim::Server)) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            fault(test_cluster.server()?);
            sleep(EVERY).await;
        }
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}
