//! Watches that end, and events that come late, twice, in another order or not at all.

use std::time::Duration;

use anyhow::Result;
use apiserver_sim::{Fault, Faults};
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, one_endures};
use crate::test_cluster::Stage;

/// How often watches are closed, or what has happened is forgotten.
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
            "neighbouring events of a watch change places",
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
            |numbers| repeated(numbers, |server| server.drop_watches()),
        ),
        Case::new(
            "embedded_compacted",
            "what has happened is forgotten and all watches are closed, three times a second, so that \
             they are answered with 410",
            move |numbers| repeated(numbers, compacted),
        ),
    ]
}

fn case(name: &'static str, fault: &'static str, each: fn() -> Fault) -> Case {
    Case::new(name, fault, move |numbers| watched(numbers, each()))
}

async fn watched(numbers: Numbers, fault: Fault) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let server = stage.server()?;
        server.set_faults(Faults::default().with(fault, 1.0, "watch", ""));
        server.drop_watches();
        sleep(lasts).await;
        server.set_faults(Faults::default());
        server.drop_watches();
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn repeated(numbers: Numbers, fault: impl Fn(&apiserver_sim::Server)) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            fault(stage.server()?);
            sleep(EVERY).await;
        }
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}
