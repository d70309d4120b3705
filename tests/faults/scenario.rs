//! One fault from its beginning to the last trace of it, and what must hold afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::fleet::{Kubelets, Strikes, VICTIMS};
use crate::scale::Numbers;
use crate::test_cluster::{Stage, is_forgery, is_served};

/// How much more resident memory there may be afterwards, in KiB: the new kubelets and what the
/// allocator keeps.
const GROWTH: u64 = 8 * 1024;
/// How long it may take until memory is given back.
const SETTLING: Duration = Duration::from_secs(20);
/// How often the API server is asked whether everybody is served.
const LOOK: Duration = Duration::from_millis(200);
/// How long a process may take to end.
const END: Duration = Duration::from_secs(10);
const SEED: u64 = 8;

/// What was seen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seen {
    /// How long the fault lasted.
    pub lasted: Duration,
    /// Genuine requests that have their certificate: all there are.
    pub served: usize,
    /// Forgeries, all of which were denied.
    pub denied: usize,
    /// From the end of the fault until everybody was served.
    pub recovered: Duration,
    /// Resident memory of one replica before the fault and after it, in KiB.
    pub memory: (u64, u64),
    /// What else there is to say.
    pub note: String,
}

/// Whose memory is looked at, and which writes are right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The number of the replica whose memory is compared; the leader's if there is none.
    pub measured: Option<usize>,
    /// Somebody else edits the Lease, so that one may write that does not hold it any more.
    pub lease_is_edited: bool,
}

/// What one replica, started with no more than it needs, goes through.
pub async fn one_endures<F>(
    mut stage: Stage,
    numbers: &Numbers,
    lasts: Duration,
    during: F,
) -> Result<Seen>
where
    F: AsyncFnOnce(&mut Stage, Duration) -> Result<()>,
{
    stage.start(&["one"], &[]).await?;
    endure(&mut stage, numbers, lasts, Terms::default(), during).await
}

/// Kubelets are served; then, while the fault is in force, all of them ask anew, new ones come and
/// attackers strike. `during` begins the fault, lets it last and ends it. Afterwards every genuine
/// request must have its certificate and no forgery, by the same processes, of which only the leader
/// has written and none has grown.
pub async fn endure<F>(
    stage: &mut Stage,
    numbers: &Numbers,
    lasts: Duration,
    terms: Terms,
    during: F,
) -> Result<Seen>
where
    F: AsyncFnOnce(&mut Stage, Duration) -> Result<()>,
{
    let kubelets = Kubelets::new(stage, numbers.kubelets).await?;
    // The last tenth comes during the fault.
    let present = kubelets.count() - kubelets.count().div_ceil(10);
    let soon = Duration::from_secs(1);
    let mut first = kubelets.ask(0..present, soon);
    first
        .served(numbers.patience)
        .await
        .context("before the fault")?;
    let measured = match terms.measured {
        Some(number) => number,
        None => stage.leader().await?,
    };
    let before = memory(stage, measured)?;

    let mut wave = kubelets.ask(VICTIMS..kubelets.count(), lasts);
    let mut strikes = Strikes::begin(stage, numbers.forgeries, lasts, SEED).await?;
    let begun = Instant::now();
    during(stage, lasts).await?;
    let ended = Instant::now();

    let patience = numbers.patience;
    wave.served(patience).await?;
    let served = all_served(stage, patience).await?;
    let recovered = ended.elapsed();
    let denied = strikes.denied(patience).await?;
    ensure!(denied == numbers.forgeries, "{denied} forgeries");
    no_forgery_passed(stage).await?;
    let asked = present + kubelets.count() - VICTIMS;
    ensure!(
        served >= asked,
        "{served} requests of {asked} that were made"
    );
    if terms.lease_is_edited {
        stage.writes()?;
    } else {
        stage.only_leaders_wrote()?;
    }
    let after = settled_memory(stage, measured, before).await?;
    end(stage).await?;
    Ok(Seen {
        lasted: ended - begun,
        served,
        denied,
        recovered,
        memory: (before, after),
        note: String::new(),
    })
}

/// Waits until every genuine request has its certificate, and counts them.
pub async fn all_served(stage: &Stage, patience: Duration) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let requests = stage.requests().await?;
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

/// What the API server has, however it came about, has the last word.
pub async fn no_forgery_passed(stage: &Stage) -> Result<()> {
    for request in stage.requests().await? {
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

/// Resident memory of a replica, in KiB.
pub fn memory(stage: &Stage, replica: usize) -> Result<u64> {
    let replica = stage.replicas.get(replica).context("no such replica")?;
    replica.resident_kib()
}

/// The same, once it is back where it was.
pub async fn settled_memory(stage: &Stage, replica: usize, before: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let after = memory(stage, replica)?;
        if after < before + GROWTH {
            return Ok(after);
        }
        ensure!(
            begun.elapsed() < SETTLING,
            "{before} KiB became {after} KiB"
        );
        sleep(LOOK).await;
    }
}

/// All replicas still run, and end in order.
pub async fn end(stage: &mut Stage) -> Result<()> {
    for replica in &mut stage.replicas {
        if replica.process.id().is_none() {
            // Killed by the case itself.
            continue;
        }
        replica.process.must_run()?;
        let status = replica.sigterm(END).await?;
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}
