//! A deterministic simulation of the whole daemon: two replicas, kubelets, attackers, a signer and an API
//! server in one thread and in virtual time. One seed decides all events and faults.
//!
//! `CSR_WARDEN_SEED=N` replays one seed and prints its script; `CSR_WARDEN_SEEDS=N` runs so many.

mod at_rest;
mod attacker;
mod faults;
mod kubelet;
mod machines;
mod network;
mod plan;
mod replica;
mod run;
mod shrink;
mod signer;
mod tally;
mod terms;
mod truth;
mod world;

use std::time::Duration;

use plan::{Extent, Plan};
use run::run;
use shrink::shrink;
use tally::Tally;

/// The size of the simulations of ordinary tests.
const SMALL: Extent = Extent {
    kubelets: (3, 12),
    minutes: (30, 40),
    pause: Duration::from_secs(40),
};
/// The size of a simulation that is run twice.
const TINY: Extent = Extent {
    kubelets: (3, 5),
    minutes: (15, 15),
    pause: Duration::from_secs(20),
};
/// The size of the simulations of a proof.
const LARGE: Extent = Extent {
    kubelets: (10, 200),
    minutes: (120, 360),
    pause: Duration::from_secs(40),
};
/// The seed of the first large simulation: those before are small.
const FIRST_LARGE: u64 = 1000;
/// The number of seeds of an ordinary test.
const FEW: u64 = 2;

#[test]
fn kubelets_renew_without_faults() {
    let plan = Plan::new(1, SMALL).quiet();
    let outcome = run(&plan, false);
    assert!(outcome.findings.is_empty(), "{:#?}", outcome.findings);
    let expected = u64::try_from(plan.kubelets).unwrap_or_default();
    assert!(outcome.tally.certificates >= expected, "{}", outcome.tally);
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    let plan = Plan::new(7, TINY);
    let (first, second) = (run(&plan, true), run(&plan, true));
    let mut lines = first.trace.lines().zip(second.trace.lines());
    let differs = lines.find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert!(first.trace == second.trace && first.digest == second.digest);
}

/// A search, which `just prove-simulation` extends.
#[test]
fn no_seed_has_a_finding() {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let (seed, count) = (variable("CSR_WARDEN_SEED"), variable("CSR_WARDEN_SEEDS"));
    let seeds = match (seed, count) {
        (Some(first), count) => first..first + count.unwrap_or(1),
        (None, Some(count)) => FIRST_LARGE..FIRST_LARGE + count,
        (None, None) => 0..FEW,
    };
    let (mut total, mut failed) = (Tally::default(), Vec::new());
    for seed in seeds {
        let extent = if seed < FIRST_LARGE { SMALL } else { LARGE };
        let plan = Plan::new(seed, extent);
        let outcome = run(&plan, std::env::var_os("CSR_WARDEN_TRACE").is_some());
        print!("{}", outcome.trace);
        total.add(&outcome.tally);
        if !outcome.findings.is_empty() {
            println!("seed {seed} fails: {:#?}", outcome.findings);
            let (plan, outcome) = shrink(&plan, outcome);
            println!("{plan}{:#?}", outcome.findings);
            failed.push(seed);
        }
    }
    println!("{total}");
    assert!(failed.is_empty(), "seeds {failed:?} fail");
}
