//! A deterministic simulation of the whole daemon: two replicas, kubelets, attackers, a signer and an API
//! server in one thread and in virtual time. One seed decides everything that happens.
//!
//! `CSR_WARDEN_SEED=N` replays one seed and prints its script; `CSR_WARDEN_SEEDS=N` runs so many.

mod at_rest;
mod attacker;
mod faults;
mod kubelet;
mod network;
mod plan;
mod replica;
mod run;
mod signer;
mod tally;
mod truth;
mod world;

use std::time::Duration;

use plan::{Extent, Plan};
use run::run;

/// The size of the simulations of ordinary tests.
const SMALL: Extent = Extent {
    kubelets: (3, 12),
    hours: (1, 2),
    pause: Duration::from_secs(60),
};

#[test]
fn kubelets_renew_without_faults() {
    let plan = Plan::new(1, SMALL).quiet();
    let outcome = run(&plan, true);
    assert!(
        outcome.findings.is_empty(),
        "{}\n{:#?}",
        outcome.trace,
        outcome.findings
    );
    println!("{}", outcome.tally);
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    let plan = Plan::new(7, SMALL);
    let first = run(&plan, true);
    let second = run(&plan, true);
    let lines = first.trace.lines().zip(second.trace.lines());
    for (number, (one, other)) in lines.enumerate() {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(first.trace.len(), second.trace.len());
    assert_eq!(first.digest, second.digest);
}

#[test]
fn seeds_have_no_finding() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let extent = if std::env::var_os("CSR_WARDEN_SEEDS").is_some() {
        LARGE
    } else {
        SMALL
    };
    let seeds = match number("CSR_WARDEN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CSR_WARDEN_SEEDS").unwrap_or(4),
    };
    let mut total = tally::Tally::default();
    for seed in seeds {
        let plan = Plan::new(seed, extent);
        let outcome = run(&plan, false);
        total.add(&outcome.tally);
        if !outcome.findings.is_empty() {
            println!("{plan}{:#?}", outcome.findings);
        }
    }
    println!("{total}");
    assert_eq!(total.findings, 0);
}

/// The size of the simulations of a proof.
const LARGE: Extent = Extent {
    kubelets: (10, 200),
    hours: (2, 6),
    pause: Duration::from_secs(40),
};
