//! The plan of a simulation: everything that happens from outside, drawn from one seed. The text of a
//! plan is the script that a person reads.

use std::fmt;
use std::time::Duration;

use judge::policy::Enforcement;
use lab::forgery::ForgeryKind;
use lab::random::SeededRng;

use super::attacker::Attack;
use super::faults::{Fault, Party};
use super::terms::Terms;
use super::world::rng;

/// The longest difference of a clock, in seconds.
const MAX_CLOCK: usize = 7200;

/// An event from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Requests of a party fail for some time, with this probability in percent.
    Faults {
        fault: Fault,
        party: Option<Party>,
        percent: u8,
        lasts: Duration,
    },
    /// A replica's connections transfer nothing for some time.
    Cut { replica: usize, lasts: Duration },
    /// A replica is killed, and started after some time by a machine whose clock is so many seconds ahead.
    Kill {
        replica: usize,
        down: Duration,
        ahead: i64,
    },
    /// A replica is stopped in order, and started after some time.
    Stop { replica: usize, down: Duration },
    /// The API server's event history is compacted.
    Compact,
    /// The API server ends all watches.
    EndWatches,
    /// The clock of the API server, or of one of two, is set so many seconds ahead of the right time.
    ServerClock { ahead: i64, is_one_of_two: bool },
    /// A kubelet is stopped and its Node is deleted.
    Leave { kubelet: usize },
    /// A kubelet starts, or starts again. Its Node is created.
    Join { kubelet: usize },
    /// A Node is deleted under a running kubelet, which is restarted after some time.
    Recreate { kubelet: usize, after: Duration },
    /// A kubelet gets another address.
    Move { kubelet: usize },
    /// An attack begins. The attacker is evicted after some time.
    Attack { attack: Attack, lasts: Duration },
    /// The signer pauses.
    SignerPause { lasts: Duration },
    /// A controller labels each new request.
    Labels { lasts: Duration },
    /// The policy is replaced. Each replica reads it after its own delay.
    Reload { terms: Terms, delays: [Duration; 2] },
    /// The policy's file is replaced by one that is no policy.
    BrokenPolicy,
    /// A kubelet's Machine is deleted, and made again after some time.
    LoseMachine { kubelet: usize, lasts: Duration },
}

impl Event {
    /// The number of the kind: each kind of fault is one of its own.
    fn number(&self) -> u32 {
        match self {
            Event::Cut { .. } => 0,
            Event::Kill { .. } => 1,
            Event::Stop { .. } => 2,
            Event::Compact => 3,
            Event::EndWatches => 4,
            Event::ServerClock { .. } => 5,
            Event::Leave { .. } => 6,
            Event::Join { .. } => 7,
            Event::Recreate { .. } => 8,
            Event::Move { .. } => 9,
            Event::Attack {
                attack: Attack::Flood(_),
                ..
            } => 10,
            Event::Attack { .. } => 11,
            Event::SignerPause { .. } => 12,
            Event::Labels { .. } => 13,
            Event::Reload { .. } => 14,
            Event::BrokenPolicy => 15,
            Event::LoseMachine { .. } => 16,
            Event::Faults { fault, .. } => 17 + *fault as u32,
        }
    }

    /// The kind, for counts.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Event::Faults { .. } => "period of faults",
            Event::Cut { .. } => "replica cut off",
            Event::Kill { .. } => "replica killed",
            Event::Stop { .. } => "replica stopped",
            Event::Compact => "compaction",
            Event::EndWatches => "all watches end",
            Event::ServerClock { .. } => "API server's clock set",
            Event::Leave { .. } => "Node removed",
            Event::Join { .. } => "Node joined",
            Event::Recreate { .. } => "Node re-created",
            Event::Move { .. } => "address changed",
            Event::Attack { .. } => "attack",
            Event::SignerPause { .. } => "signer paused",
            Event::Labels { .. } => "requests labeled",
            Event::Reload { .. } => "policy replaced",
            Event::BrokenPolicy => "policy broken",
            Event::LoseMachine { .. } => "Machine lost",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Faults {
                fault,
                party,
                percent,
                lasts,
            } => {
                let whose = match party {
                    None => "all requests".to_owned(),
                    Some(Party::Replica(replica)) => format!("requests of replica {replica}"),
                    Some(Party::Kubelets) => "requests of kubelets".to_owned(),
                    Some(Party::Cluster) => "requests of the signer".to_owned(),
                };
                write!(f, "{percent} % of {whose} meet `{fault}` for {lasts:?}")
            }
            Event::Cut { replica, lasts } => {
                write!(f, "replica {replica} is cut off for {lasts:?}")
            }
            Event::Kill {
                replica,
                down,
                ahead,
            } => write!(
                f,
                "replica {replica} is killed for {down:?}, then its clock is {ahead} s ahead"
            ),
            Event::Stop { replica, down } => write!(f, "replica {replica} is stopped for {down:?}"),
            Event::Compact => f.write_str("the API server compacts its history"),
            Event::EndWatches => f.write_str("the API server ends all watches"),
            Event::ServerClock {
                ahead,
                is_one_of_two,
            } => {
                let whose = match is_one_of_two {
                    true => "clock of one of two API servers",
                    false => "API server's clock",
                };
                write!(f, "the {whose} is set {ahead} s ahead")
            }
            Event::Leave { kubelet } => write!(f, "kubelet {kubelet} stops, its Node is deleted"),
            Event::Join { kubelet } => write!(f, "kubelet {kubelet} starts"),
            Event::Recreate { kubelet, after } => {
                write!(
                    f,
                    "the Node of kubelet {kubelet} is deleted, which restarts after {after:?}"
                )
            }
            Event::Move { kubelet } => write!(f, "kubelet {kubelet} gets another address"),
            Event::Attack { attack, lasts } => write!(f, "an attack for {lasts:?}: {attack:?}"),
            Event::SignerPause { lasts } => write!(f, "the signer pauses for {lasts:?}"),
            Event::Labels { lasts } => write!(f, "a controller labels requests for {lasts:?}"),
            Event::Reload { terms, delays } => {
                write!(f, "the replicas read a policy after {delays:?}: {terms}")
            }
            Event::BrokenPolicy => f.write_str("the replicas read a file that is no policy"),
            Event::LoseMachine { kubelet, lasts } => {
                write!(f, "the Machine of kubelet {kubelet} is gone for {lasts:?}")
            }
        }
    }
}

/// A plan.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The number of kubelets.
    pub(super) kubelets: usize,
    /// The time until the last event.
    pub(super) lasts: Duration,
    /// The policy at first, and at rest.
    pub(super) terms: Terms,
    /// True if kubelets have Machines.
    pub(super) has_machines: bool,
    /// Probability that any request fails, in per mille.
    pub(super) background: u16,
    /// The events, in the order of time.
    pub(super) events: Vec<(Duration, Event)>,
}

/// The size of a simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) kubelets: (usize, usize),
    /// Minutes until the last event.
    pub(super) minutes: (usize, usize),
    /// Average time between two events.
    pub(super) pause: Duration,
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(seed: u64, extent: Extent) -> Plan {
        let mut rng = rng(seed, "the plan", 0);
        let between = |(least, most): (usize, usize), rng: &mut SeededRng| {
            least + rng.below(most.saturating_sub(least) + 1)
        };
        let kubelets = between(extent.kubelets, &mut rng);
        let minutes = between(extent.minutes, &mut rng);
        let lasts = Duration::from_secs(60) * u32::try_from(minutes).unwrap_or(1);
        let has_machines = rng.below(3) == 0;
        let terms = Terms {
            enforcement: Enforcement::ApproveAndDeny,
            ..Terms::draw(has_machines, &mut rng)
        };
        let background = [0, 2, 10, 40]
            .get(rng.below(4))
            .copied()
            .unwrap_or_default();
        // Kinds that are left out let others have longer effects (Groce et al., "Swarm testing", 2012).
        let left_out = rng.number() & rng.number();
        let mut events = Vec::new();
        let mut at = Duration::from_secs(60);
        while at < lasts {
            let event = event(kubelets, has_machines, &mut rng);
            if left_out >> event.number() & 1 == 0 {
                events.push((at, event));
            }
            at += Duration::from_secs(1) + extent.pause.mul_f64(2.0 * rng.share());
        }
        Plan {
            seed,
            kubelets,
            lasts,
            terms,
            has_machines,
            background,
            events,
        }
    }

    /// The same plan without events.
    pub(super) fn quiet(mut self) -> Plan {
        self.events.clear();
        self.background = 0;
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} kubelets, 2 replicas, {} s, {}, {} ‰ of requests fail",
            self.seed,
            self.kubelets,
            self.lasts.as_secs(),
            self.terms,
            self.background
        )?;
        for (at, event) in &self.events {
            writeln!(f, "{:>8} s  {event}", at.as_secs())?;
        }
        Ok(())
    }
}

fn event(kubelets: usize, has_machines: bool, rng: &mut SeededRng) -> Event {
    let time = |most: usize, rng: &mut SeededRng| {
        // Short times are as probable as long ones.
        let most = 1 + rng.below(most);
        Duration::from_secs(u64::try_from(1 + rng.below(most)).unwrap_or(1))
    };
    let ahead = |rng: &mut SeededRng| {
        let most = [3, 20, 600, MAX_CLOCK]
            .get(rng.below(4))
            .copied()
            .unwrap_or(1);
        let seconds = i64::try_from(rng.below(2 * most + 1)).unwrap_or_default();
        seconds - i64::try_from(most).unwrap_or_default()
    };
    let kubelet = rng.below(kubelets);
    let replica = rng.below(2);
    match rng.below(108) {
        0..38 => Event::Faults {
            fault: Fault::ALL
                .get(rng.below(Fault::ALL.len()))
                .copied()
                .unwrap_or(Fault::Slow),
            party: match rng.below(6) {
                0 => None,
                1 => Some(Party::Kubelets),
                2 => Some(Party::Cluster),
                _ => Some(Party::Replica(replica)),
            },
            percent: [5, 30, 60, 100].get(rng.below(4)).copied().unwrap_or(100),
            lasts: time(240, rng),
        },
        38..43 => Event::Cut {
            replica,
            lasts: time(120, rng),
        },
        43..48 => Event::Kill {
            replica,
            down: time(120, rng),
            ahead: ahead(rng),
        },
        48..51 => Event::Stop {
            replica,
            down: time(120, rng),
        },
        51..55 => Event::Compact,
        55..59 => Event::EndWatches,
        59..62 => Event::ServerClock {
            ahead: ahead(rng),
            is_one_of_two: rng.below(3) == 0,
        },
        62..66 => Event::Leave { kubelet },
        66..70 => Event::Join { kubelet },
        70..75 => Event::Recreate {
            kubelet,
            after: time(60, rng),
        },
        75..81 => Event::Move { kubelet },
        81..95 => {
            let kinds = ForgeryKind::ALL;
            let kind = match rng.below(3) {
                0 => ForgeryKind::AddressOfAnotherNode,
                _ => kinds
                    .get(rng.below(kinds.len()))
                    .copied()
                    .unwrap_or(ForgeryKind::Wildcard),
            };
            Event::Attack {
                attack: match rng.below(6) {
                    0 => Attack::Flood(u16::try_from(20 + rng.below(100)).unwrap_or(20)),
                    _ => Attack::Forge(kind),
                },
                lasts: time(1800, rng),
            }
        }
        95..97 => Event::SignerPause {
            lasts: time(300, rng),
        },
        100..103 => Event::Reload {
            terms: Terms::draw(has_machines, rng),
            delays: [time(90, rng), time(90, rng)],
        },
        103 => Event::BrokenPolicy,
        104..108 if has_machines => Event::LoseMachine {
            kubelet,
            lasts: time(300, rng),
        },
        _ => Event::Labels {
            lasts: time(1200, rng),
        },
    }
}
