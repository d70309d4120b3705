//! An API server with slow responses or errors.

use std::time::Duration;

use anyhow::Result;
use apiserver_sim::{Fault, Faults};
use tokio::time::sleep;

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "embedded_requests_hang",
            "a fifth of all requests except watches is never answered",
            || {
                let verbs = ["get", "list", "create", "update", "patch"];
                verbs.into_iter().fold(Faults::default(), |faults, verb| {
                    faults.with(Fault::Hang, 0.2, verb, "")
                })
            },
        ),
        case("embedded_slow", "every answer comes a second late", || {
            all(Fault::Delay(Duration::from_secs(1)), 1.0)
        }),
        case(
            "embedded_slower_than_patience",
            "every answer comes five seconds late: after the deadlines of the Lease and of a write",
            || all(Fault::Delay(Duration::from_secs(5)), 1.0),
        ),
        case(
            "embedded_429",
            "every answer is 429, with `Retry-After: 1`",
            || all(Fault::TooManyRequests(1), 1.0),
        ),
        case("embedded_500", "every answer is 500", || {
            all(Fault::Internal, 1.0)
        }),
        case("embedded_503", "every answer is 503", || {
            all(Fault::Unavailable, 1.0)
        }),
        case(
            "embedded_errors_at_random",
            "a tenth of the answers is 429, a tenth 500, a tenth 503, and a tenth comes half a second late",
            || {
                all(Fault::TooManyRequests(1), 0.1)
                    .with(Fault::Internal, 0.1, "", "")
                    .with(Fault::Unavailable, 0.1, "", "")
                    .with(Fault::Delay(Duration::from_millis(500)), 0.1, "", "")
            },
        ),
        case(
            "embedded_conflicts",
            "every write of an approval is answered with 409",
            || Faults::default().with(Fault::Conflict, 1.0, "update", "/approval"),
        ),
        case(
            "embedded_410",
            "every list and watch starts with 410",
            || {
                Faults::default().with(Fault::Gone, 1.0, "list", "").with(
                    Fault::Gone,
                    1.0,
                    "watch",
                    "",
                )
            },
        ),
    ]
}

fn all(fault: Fault, probability: f64) -> Faults {
    Faults::default().with(fault, probability, "", "")
}

fn case(name: &'static str, fault: &'static str, faults: fn() -> Faults) -> Case {
    Case::new(name, fault, move |scale| run(scale, faults()))
}

async fn run(scale: Scale, faults: Faults) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let server = test_cluster.server()?;
        // So that watches are affected too.
        server.set_faults(faults);
        server.drop_watches();
        sleep(lasts).await;
        server.set_faults(Faults::default());
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}
