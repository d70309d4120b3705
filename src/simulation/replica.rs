//! One replica of the daemon, with a clock, randomness and a connection of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apiserver_sim::User;
use jiff::SignedDuration;
use judge::policy::Enforcement;
use kube::Config;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::faults::Party;
use super::network::{Client, Link, LinkState};
use super::terms::Terms;
use super::truth::MAX_LAG;
use super::world::{BEGIN, World};
use crate::cli::daemon::{Daemon, Plan};
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::random::Random;
use crate::controller::audit::{Audit, Auditor};
use crate::controller::{RequestorLimits, Setup, WRITES_AT_ONCE};

/// The URL of the API server, for every replica.
const SERVER: &str = "https://127.0.0.1:6443";
/// The time for which a judgment may be out of date: wakes of an object that changes continuously are
/// delayed.
const MAX_OUTDATED: Duration = Duration::from_secs(16);
/// The same for a judgment that the policy's enforcement writes not: it awaits another policy, and the safety
/// net of the waiting requests finds all else.
const MAX_OUTDATED_UNWRITTEN: Duration = Duration::from_secs(60 + 16);
/// The time for which an ended replica may finish its last writes.
const LAST_WRITES: Duration = Duration::from_secs(30);

/// A part of a replica in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It takes part in the election.
    Candidate,
    /// It judges each request from the first on, and writes nothing.
    Observer,
}

/// A replica that can be stopped and started again.
pub(super) struct Replica {
    index: usize,
    role: Role,
    world: Arc<World>,
    /// The number of the policy in its file.
    policy: usize,
    starts: u64,
    running: Option<Running>,
    /// The last audit.
    pub(super) audit: Arc<Mutex<Audit>>,
}

struct Running {
    link: Arc<Link>,
    stop: watch::Sender<bool>,
    policies: mpsc::UnboundedSender<String>,
    daemon: JoinHandle<()>,
}

impl Replica {
    /// Creates a replica that does not run yet. `policy` is the number of the policy in its file.
    pub(super) fn new(index: usize, role: Role, world: &Arc<World>, policy: usize) -> Replica {
        Replica {
            index,
            role,
            world: world.clone(),
            policy,
            starts: 0,
            running: None,
            audit: Arc::default(),
        }
    }

    /// Starts it on a machine whose clock is so far ahead.
    pub(super) fn start(&mut self, ahead: SignedDuration) {
        if self.running.is_some() {
            return;
        }
        self.starts += 1;
        let world = self.world.clone();
        let name = format!("replica-{}.{}", self.index, self.starts);
        let link = Link::new(&name, Party::Replica(self.index));
        let clock = Clock::counted_from(BEGIN + world.elapsed() + ahead);
        let seed = world
            .rng(
                "a replica's randomness",
                self.starts << 8 | self.index as u64,
            )
            .number();
        let user = Arc::new(User::new(
            "system:serviceaccount:kube-system:csr-warden",
            &["system:masters"],
        ));
        let mut config = Config::new(SERVER.parse().expect("a URL"));
        config.root_cert = Some(vec![world.api.ca().der().to_vec()]);
        let connection = Connection::in_memory(config, clock, |read_timeout| Client {
            world: world.clone(),
            user: user.clone(),
            link: link.clone(),
            read_timeout,
        });
        let (stop, stopped) = watch::channel(false);
        let (policies, read) = mpsc::unbounded_channel();
        let policy = self.terms().policy(self.policy);
        world.truth().policy_read(&name, self.policy);
        let is_candidate = self.role == Role::Candidate;
        let plan = Plan {
            setup: Setup {
                policy: None,
                policies: Some(Arc::new(tokio::sync::Mutex::new(read))),
                inventory: None,
                machines: connection.watches.clone(),
                kubelet_authorities: vec![world.api.ca().der().to_vec()],
            },
            connection,
            policy,
            enforcement: (!is_candidate).then_some(Enforcement::DryRun),
            lease: is_candidate.then(|| ("kube-system".into(), "csr-warden".into())),
            serving: None,
            decision_log: None,
            concurrency: WRITES_AT_ONCE.into(),
            limits: RequestorLimits::default(),
            random: Random::seeded(seed),
            auditor: Some(auditor(&world, &name, &self.audit)),
        };
        let daemon = tokio::spawn(async move {
            match Daemon::start(plan).await {
                Ok(daemon) => {
                    if let Err(why) = daemon.run(stopped).await {
                        world.find(format!("{name} ended: {why:#}"));
                    }
                }
                Err(why) => world.find(format!("{name} does not start: {why:#}")),
            }
        });
        self.running = Some(Running {
            link,
            stop,
            policies,
            daemon,
        });
    }

    fn terms(&self) -> Terms {
        let terms = self.world.truth().policies.get(self.policy).copied();
        terms.expect("a policy")
    }

    /// Replaces the policy in its file.
    pub(super) fn read_policy(&mut self, number: usize) {
        self.policy = number;
        self.read_text(self.terms().text(number));
        if let Some(running) = &self.running {
            self.world.truth().policy_read(&running.link.name, number);
        }
    }

    /// Lets it read a file that is no policy. The administrator corrects it before the next start.
    pub(super) fn read_text(&self, text: String) {
        if let Some(running) = &self.running {
            // A daemon that has just ended reads nothing.
            let _ = running.policies.send(text);
        }
    }

    /// Ends it at once, as SIGKILL does.
    pub(super) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.link.set(LinkState::Closed);
            running.daemon.abort();
        }
    }

    /// Ends it in order, as SIGTERM does.
    pub(super) async fn stop(&mut self) {
        if let Some(Running {
            link, stop, daemon, ..
        }) = self.running.take()
        {
            stop.send_replace(true);
            if timeout(LAST_WRITES, daemon).await.is_err() {
                self.world.find(format!("{} does not stop", link.name));
            }
            link.set(LinkState::Closed);
        }
    }

    /// Cuts it off, or ends that.
    pub(super) fn cut(&self, is_cut: bool) {
        if let Some(running) = &self.running {
            running.link.set(if is_cut {
                LinkState::Cut
            } else {
                LinkState::Up
            });
        }
    }
}

/// The receiver of a replica's audits, which checks them.
fn auditor(world: &Arc<World>, replica: &str, last: &Arc<Mutex<Audit>>) -> Auditor {
    let outdated: Mutex<BTreeMap<String, Instant>> = Mutex::default();
    let gone: Mutex<BTreeMap<String, Instant>> = Mutex::default();
    let (world, replica, last) = (Arc::downgrade(world), replica.to_owned(), last.clone());
    Arc::new(move |audit| {
        let Some(world) = world.upgrade() else { return };
        for orphan in &audit.orphans {
            world.find(format!("{replica}: nothing will judge or wake {orphan}"));
        }
        for queue in &audit.too_long {
            world.find(format!("{replica}: {queue}"));
        }
        let mut outdated = outdated.lock().unwrap_or_else(PoisonError::into_inner);
        let is_outdated = |name: &String| audit.outdated.iter().any(|(found, _)| found == name);
        outdated.retain(|name, _| audit.leads && is_outdated(name));
        for (name, why) in audit.outdated.iter().filter(|_| audit.leads) {
            let since = *outdated.entry(name.clone()).or_insert_with(Instant::now);
            let most = if why.is_unwritten {
                MAX_OUTDATED_UNWRITTEN
            } else {
                MAX_OUTDATED
            };
            if since.elapsed() > most {
                let seconds = since.elapsed().as_secs();
                world.find(format!(
                    "{replica}: for {seconds} s nothing has woken {name}: {}",
                    why.text
                ));
            }
        }
        let present = world.truth().nodes.clone();
        let mut gone = gone.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = audit.nodes.iter();
        let believed = nodes.filter(|(name, uid, _)| present.get(name) != Some(uid));
        let believed: BTreeSet<&String> = believed.map(|(_, uid, _)| uid).collect();
        gone.retain(|uid, _| audit.is_ready && believed.contains(uid));
        for uid in believed.into_iter().filter(|_| audit.is_ready) {
            let since = *gone.entry(uid.clone()).or_insert_with(Instant::now);
            if since.elapsed() > MAX_LAG {
                world.find(format!(
                    "{replica} still believes in the deleted Node {uid}"
                ));
            }
        }
        *last.lock().unwrap_or_else(PoisonError::into_inner) = audit.clone();
    })
}
