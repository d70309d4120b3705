//! Counts of what a simulation did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The counts of one or more simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) seeds: u64,
    /// Time that passed in the simulated world.
    pub(super) simulated: Duration,
    /// Certificates that honest kubelets got.
    pub(super) certificates: u64,
    pub(super) approvals: u64,
    pub(super) denials: u64,
    /// Requests of attackers.
    pub(super) attacks: u64,
    /// Claims of attackers on what an honest Node has.
    pub(super) contested_claims: u64,
    pub(super) leader_changes: u64,
    /// Verdicts at rest that were compared with those of an observer.
    pub(super) compared: u64,
    /// Planned events that happened, by kind.
    pub(super) events: BTreeMap<&'static str, u64>,
    /// Faults of the network, by kind.
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) findings: u64,
}

impl Tally {
    /// Adds the counts of another simulation.
    pub(super) fn add(&mut self, other: &Tally) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.certificates += other.certificates;
        self.approvals += other.approvals;
        self.denials += other.denials;
        self.attacks += other.attacks;
        self.contested_claims += other.contested_claims;
        self.leader_changes += other.leader_changes;
        self.compared += other.compared;
        self.findings += other.findings;
        for (kind, count) in &other.events {
            *self.events.entry(kind).or_default() += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, count: u64| writeln!(f, "| {name} | {count} |");
        row("seeds", self.seeds)?;
        row("simulated hours", self.simulated.as_secs() / 3600)?;
        row("certificates of honest kubelets", self.certificates)?;
        row("approvals", self.approvals)?;
        row("denials", self.denials)?;
        row("requests of attackers", self.attacks)?;
        row("contested claims", self.contested_claims)?;
        row("leader changes", self.leader_changes)?;
        row("verdicts compared at rest", self.compared)?;
        for (kind, count) in &self.events {
            row(&format!("event: {kind}"), *count)?;
        }
        row("faults", self.faults.values().sum())?;
        for (kind, count) in &self.faults {
            row(&format!("fault: {kind}"), *count)?;
        }
        row("findings", self.findings)
    }
}
