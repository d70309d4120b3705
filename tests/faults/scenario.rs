//! The scenario of a case: kubelets and attackers before, during and after a fault, and all checks.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::fleet::{Attacks, Kubelets, VICTIM_COUNT};
use crate::scale::Scale;
use crate::test_cluster::{TestCluster, is_forgery, is_served};

/// The maximum growth of resident memory in KiB, for new kubelets and for memory that the allocator
/// keeps.
const MAX_GROWTH_KIB: u64 = 8 * 1024;
/// The deadline for memory to be returned.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(20);
/// The interval of polling the API server.
const LOOK: Duration = Duration::from_millis(200);
/// The deadline for a process to exit.
const END: Duration = Duration::from_secs(10);
const SEED: u64 = 8;

/// The measurements of a case.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// The duration of the fault.
    pub lasted: Duration,
    /// The number of genuine requests, all of which have their certificate.
    pub served: usize,
    /// The number of forged requests, all of which were denied.
    pub denied: usize,
    /// The time from the end of the fault until all kubelets were served.
    pub recovered: Duration,
    /// Resident memory of one replica before and after the fault, in KiB.
    pub memory: (u64, u64),
    /// A remark for the table.
    pub note: String,
}

/// The expectations of a case that differ from the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectations {
    /// The index of the replica whose memory is compared. `None` for the leader.
    pub measured: Option<usize>,
    /// The Lease is edited by the test, so a replica may write that has lost it.
    pub lease_is_edited: bool,
}

/// Runs the scenario with one replica and default flags.
pub async fn run_one_replica<F>(
    mut test_cluster: TestCluster,
    scale: &Scale,
    lasts: Duration,
    during: F,
) -> Result<Measured>
where
    F: AsyncFnOnce(&mut TestCluster, Duration) -> Result<()>,
{
    test_cluster.start(&["one"], &[]).await?;
    run_scenario(
        &mut test_cluster,
        scale,
        lasts,
        Expectations::default(),
        during,
    )
    .await
}

/// Runs a scenario. First, kubelets are served. `during` starts the fault, waits and ends it.
/// Meanwhile these kubelets renew, new ones register and attackers post forged requests.
///
/// Afterwards every genuine request must have its certificate, and no forgery may have one. The
/// same processes must still run, only the leader may have written, and no memory may have grown.
pub async fn run_scenario<F>(
    test_cluster: &mut TestCluster,
    scale: &Scale,
    lasts: Duration,
    expectations: Expectations,
    during: F,
) -> Result<Measured>
where
    F: AsyncFnOnce(&mut TestCluster, Duration) -> Result<()>,
{
    let kubelets = Kubelets::new(test_cluster, scale.kubelets).await?;
    // The last tenth registers during the fault.
    let present = kubelets.count() - kubelets.count().div_ceil(10);
    let soon = Duration::from_secs(1);
    let mut first = kubelets.ask(0..present, soon);
    first
        .served(scale.patience)
        .await
        .context("before the fault")?;
    let measured = match expectations.measured {
        Some(number) => number,
        None => test_cluster.leader().await?,
    };
    let before = memory(test_cluster, measured)?;

    let mut pending = kubelets.ask(VICTIM_COUNT..kubelets.count(), lasts);
    let mut attacks = Attacks::begin(test_cluster, scale.forgeries, lasts, SEED).await?;
    let begun = Instant::now();
    during(test_cluster, lasts).await?;
    let ended = Instant::now();

    let patience = scale.patience;
    pending.served(patience).await?;
    let served = all_served(test_cluster, patience).await?;
    let recovered = ended.elapsed();
    let denied = attacks.denied(patience).await?;
    ensure!(denied == scale.forgeries, "{denied} forgeries");
    no_forgery_was_approved(test_cluster).await?;
    let asked = present + kubelets.count() - VICTIM_COUNT;
    ensure!(
        served >= asked,
        "{served} requests of {asked} that were made"
    );
    if expectations.lease_is_edited {
        test_cluster.writes()?;
    } else {
        test_cluster.only_leaders_wrote()?;
    }
    let after = settled_memory(test_cluster, measured, before).await?;
    end(test_cluster).await?;
    Ok(Measured {
        lasted: ended - begun,
        served,
        denied,
        recovered,
        memory: (before, after),
        note: String::new(),
    })
}

/// Waits until every genuine request has its certificate, and returns their number.
pub async fn all_served(test_cluster: &TestCluster, patience: Duration) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let requests = test_cluster.requests().await?;
        let genuine = || requests.iter().filter(|request| !is_forgery(request));
        let waiting: Vec<&str> = genuine()
            .filter(|request| !is_served(request))
            .filter_map(|request| request.metadata.name.as_deref())
            .collect();
        if waiting.is_empty() {
            return Ok(genuine().count());
        }
        ensure!(
            begun.elapsed() < patience,
            "{} genuine requests without a certificate, as {:?}",
            waiting.len(),
            waiting.first()
        );
        sleep(LOOK).await;
    }
}

/// Checks that no forged request on the API server has been approved.
pub async fn no_forgery_was_approved(test_cluster: &TestCluster) -> Result<()> {
    for request in test_cluster.requests().await? {
        let status = request.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let approved = conditions.iter().any(|one| one.type_ == "Approved");
        ensure!(
            !is_forgery(&request) || !(approved || status.certificate.is_some()),
            "a forgery passed: {request:?}"
        );
    }
    Ok(())
}

/// Returns the resident memory of a replica in KiB.
pub fn memory(test_cluster: &TestCluster, replica: usize) -> Result<u64> {
    let replica = test_cluster
        .replicas
        .get(replica)
        .context("no such replica")?;
    replica.resident_kib()
}

/// Returns the resident memory of a replica in KiB, once it is back near `before`.
pub async fn settled_memory(
    test_cluster: &TestCluster,
    replica: usize,
    before: u64,
) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let after = memory(test_cluster, replica)?;
        if after < before + MAX_GROWTH_KIB {
            return Ok(after);
        }
        ensure!(
            begun.elapsed() < MEMORY_TIMEOUT,
            "{before} KiB became {after} KiB"
        );
        sleep(LOOK).await;
    }
}

/// Checks that all replicas still run and exit cleanly.
pub async fn end(test_cluster: &mut TestCluster) -> Result<()> {
    for replica in &mut test_cluster.replicas {
        if replica.process.id().is_none() {
            // Killed by the case.
            continue;
        }
        replica.process.must_run()?;
        let status = replica.sigterm(END).await?;
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}
