//! The vectors of `tests/vectors` on a real cluster, each posted as its user.
//!
//! `crates/judge/tests` checks the judge alone. Here the API server records the requests,
//! csr-warden watches and writes, and the signer signs. A vector that cannot be posted is skipped
//! with a reason.

mod cluster;
pub mod environment;
mod issued_certificates;
mod nodes;
mod outcome;
mod outcome_counts;
mod plan;
mod prior_writes;
mod rejection;
mod requestor;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use crate::{Case, Needs};
use cluster::VectorCluster;
use control_plane::assets::Assets;
use control_plane::netns;
use outcome_counts::{Counted, table};
use plan::Plan;
use testkit::policies::BasePolicy;
use testkit::vector::Vector;

/// The maximum percentage of skipped vectors that no other case covers.
const MOST_SKIPPED: usize = 2;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "vectors_get_their_verdicts",
        Needs::OwnNetwork,
        vectors_get_their_verdicts,
    )]
}

async fn vectors_get_their_verdicts(assets: Arc<Assets>) -> Result<()> {
    netns::add(environment::ENDPOINT)?;
    let vectors = Vector::all();
    let begun = Instant::now();
    let plan = Plan::new(&vectors, Timestamp::now())?;
    let (on, off) = tokio::join!(run(&assets, true, &plan), run(&assets, false, &plan));
    let scenes = [
        ("on", on.context("with NodeRestriction")?),
        ("off", off.context("without NodeRestriction")?),
    ];

    let mut columns = Vec::new();
    let mut differences = Vec::new();
    for (name, cluster) in &scenes {
        for (base, counts) in BasePolicy::ALL.into_iter().zip(&cluster.counts) {
            columns.push((format!("{name}, {}", base.as_str()), counts));
        }
        differences.extend(
            cluster
                .differences
                .iter()
                .map(|how| format!("NodeRestriction {name}: {how}")),
        );
    }
    let skipped: usize = plan.skipped.values().sum();
    eprintln!(
        "\n{} vectors, {skipped} skipped {:?}, {:.0?}\n{}",
        plan.vectors,
        plan.skipped,
        begun.elapsed(),
        table(&columns)
    );

    ensure!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    let elsewhere = plan
        .skipped
        .iter()
        .filter(|(skip, _)| skip.has_other_cases());
    let elsewhere: usize = elsewhere.map(|(_, count)| count).sum();
    let (left_out, of) = (skipped - elsewhere, plan.vectors - elsewhere);
    ensure!(
        left_out * 100 <= of * MOST_SKIPPED,
        "{left_out} of {of} vectors skipped"
    );
    for (name, counts) in columns {
        let posted = counts.get(&Counted::Posted);
        ensure!(posted == plan.vectors - skipped, "{name}: {posted} posted");
        for never in [Counted::ForgeriesApproved, Counted::GenuineRefused] {
            ensure!(counts.get(&never) == 0, "{name}: {never:?}");
        }
    }
    Ok(())
}

async fn run(assets: &Assets, node_restriction: bool, plan: &Plan<'_>) -> Result<VectorCluster> {
    let options = environment::options(node_restriction);
    let mut cluster = VectorCluster::start(assets, options).await?;
    cluster.run(plan).await?;
    Ok(cluster)
}
