//! Runs a plan in virtual time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use apiserver_sim::User;
use jiff::SignedDuration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::at_rest;
use super::attacker::{self, Attacker, delete_node};
use super::faults::{Faults, Party, Period};
use super::kubelet::{Kubelet, node_user};
use super::machines;
use super::network::{Client, Link};
use super::plan::{Event, Plan};
use super::replica::{Replica, Role};
use super::signer;
use super::terms::Terms;
use super::world::{Outcome, World};
use crate::cluster::simulated_handshakes;

/// The time after which a kubelet's or a controller's request without an answer fails.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The running world and those who act in it.
pub(super) struct Stage {
    pub(super) world: Arc<World>,
    pub(super) replicas: Vec<Replica>,
    pub(super) kubelets: Vec<Kubelet>,
    attackers: Vec<(Instant, Attacker)>,
    administrator: Client,
    signer_pause: watch::Sender<Instant>,
    /// The time until which requests are labeled.
    labels: watch::Sender<Instant>,
    /// Planned starts of replicas, with the seconds that the clock is ahead.
    starts: Vec<(Instant, usize, i64)>,
    /// Planned ends of cuts.
    cuts: Vec<(Instant, usize)>,
    /// Planned reads of policies by replicas.
    reads: Vec<(Instant, usize, usize)>,
    /// Kubelets whose Machines are made again.
    machines: Vec<(Instant, usize)>,
    has_machines: bool,
    /// Number of addresses that kubelets had so far.
    addresses: u32,
    /// Number of attackers so far.
    attacks: usize,
}

/// Runs a plan.
pub(super) fn run(plan: &Plan, keeps_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(simulate(plan, keeps_trace));
    simulated_handshakes::set(None);
    outcome
}

async fn simulate(plan: &Plan, keeps_trace: bool) -> Outcome {
    let (approved, to_sign) = mpsc::unbounded_channel();
    let (created, to_label) = mpsc::unbounded_channel();
    let world = World::new(plan.seed, keeps_trace, approved, created);
    world.faults().background = plan.background;
    simulated_handshakes::set(Some(handshakes(&world)));
    world.truth().policies.push(plan.terms);
    let controller =
        |name: &str| client(&world, User::new(name, &["system:masters"]), Party::Cluster);
    let (signer_pause, pauses) = watch::channel(Instant::now());
    let (labels, labeling) = watch::channel(Instant::now());
    tokio::spawn(signer::sign_all(controller("signer"), to_sign, pauses));
    tokio::spawn(signer::clean(controller("cleaner")));
    tokio::spawn(signer::label(controller("labeler"), to_label, labeling));
    let mut stage = Stage {
        replicas: (0..2)
            .map(|index| Replica::new(index, Role::Candidate, &world, 0))
            .collect(),
        kubelets: Vec::new(),
        attackers: Vec::new(),
        administrator: controller("administrator"),
        signer_pause,
        labels,
        starts: Vec::new(),
        cuts: Vec::new(),
        reads: Vec::new(),
        machines: Vec::new(),
        has_machines: plan.has_machines,
        addresses: 0,
        attacks: 0,
        world: world.clone(),
    };
    for replica in &mut stage.replicas {
        replica.start(SignedDuration::ZERO);
    }
    stage.add_kubelets(plan.kubelets);
    for (at, event) in &plan.events {
        stage.pass_until(*at).await;
        if world.has_failed() {
            break;
        }
        world.trace(&format!("EVENT {event}"));
        world.count(|tally| *tally.events.entry(event.kind()).or_default() += 1);
        stage.perform(event).await;
    }
    if !world.has_failed() {
        stage.pass_until(plan.lasts).await;
        stage.calm_down(plan.terms).await;
        at_rest::check(&mut stage).await;
    }
    world.outcome()
}

fn client(world: &Arc<World>, user: User, party: Party) -> Client {
    Client {
        world: world.clone(),
        link: Link::new(&user.name, party),
        user: Arc::new(user),
        read_timeout: READ_TIMEOUT,
    }
}

/// The certificates that hosts show: the API server's, and those of the kubelets that have the addresses.
fn handshakes(world: &Arc<World>) -> simulated_handshakes::Handshakes {
    let world = Arc::downgrade(world);
    Arc::new(move |host| {
        let Some(world) = world.upgrade() else {
            return (None, Duration::ZERO);
        };
        let millis = world.elapsed().as_millis();
        let mut rng = world.rng(host, u64::try_from(millis).unwrap_or_default());
        let takes = Duration::from_millis(2 + u64::try_from(rng.below(40)).unwrap_or_default());
        if host == "127.0.0.1" {
            return (Some(world.server_certificate.clone().into()), takes);
        }
        let shown = world.truth().shown.get(host).cloned();
        (shown, takes)
    })
}

impl Stage {
    fn add_kubelets(&mut self, count: usize) {
        for index in 0..count {
            let name = format!("node-{index}");
            let address = self.next_address();
            let client = client(&self.world, node_user(&name), Party::Kubelets);
            let mut kubelet = Kubelet::new(&name, address, client);
            let mut rng = self.world.rng(&name, 0);
            kubelet.start(Duration::from_secs(300).mul_f64(rng.share()));
            self.kubelets.push(kubelet);
            self.make_machine(index, Duration::from_secs(300).mul_f64(rng.share()));
        }
    }

    /// Makes a kubelet's Machine, or corrects it, after a delay.
    fn make_machine(&self, kubelet: usize, after: Duration) {
        if let Some(kubelet) = self.kubelets.get(kubelet)
            && let Some(address) = kubelet.address()
            && self.has_machines
        {
            machines::set(&self.administrator, &kubelet.name, address, after);
        }
    }

    /// Deletes a kubelet's Machine.
    fn delete_machine(&self, kubelet: usize) {
        if let Some(kubelet) = self.kubelets.get(kubelet)
            && self.has_machines
        {
            machines::delete(&self.administrator, &kubelet.name, Duration::ZERO);
        }
    }

    fn next_address(&mut self) -> IpAddr {
        self.addresses += 1;
        let first = Ipv4Addr::new(10, 1, 0, 0).to_bits();
        Ipv4Addr::from_bits(first + self.addresses).into()
    }

    /// Lets time pass until this time since the beginning, with what was planned by earlier events.
    async fn pass_until(&mut self, until: Duration) {
        let until = Instant::now() + until.saturating_sub(self.world.elapsed());
        loop {
            let starts = self.starts.iter().map(|(at, ..)| *at);
            let cuts = self.cuts.iter().map(|(at, _)| *at);
            let evictions = self.attackers.iter().map(|(at, _)| *at);
            let reads = self.reads.iter().map(|(at, ..)| *at);
            let machines = self.machines.iter().map(|(at, _)| *at);
            let next = starts.chain(cuts).chain(evictions);
            let next = next.chain(reads).chain(machines).min();
            sleep_until(next.unwrap_or(until).min(until)).await;
            let now = Instant::now();
            for (_, replica, ahead) in take_due(&mut self.starts, |(at, ..)| *at <= now) {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    replica.start(SignedDuration::from_secs(ahead));
                }
            }
            for (_, replica) in take_due(&mut self.cuts, |(at, _)| *at <= now) {
                if let Some(replica) = self.replicas.get(replica) {
                    replica.cut(false);
                }
            }
            for (_, replica, number) in take_due(&mut self.reads, |(at, ..)| *at <= now) {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    replica.read_policy(number);
                }
            }
            for (_, kubelet) in take_due(&mut self.machines, |(at, _)| *at <= now) {
                self.make_machine(kubelet, Duration::ZERO);
            }
            for (_, attacker) in take_due(&mut self.attackers, |(at, _)| *at <= now) {
                attacker.evict(&self.administrator).await;
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    async fn perform(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Faults {
                fault,
                party,
                percent,
                lasts,
            } => self.world.faults().periods.push(Period {
                fault: *fault,
                party: *party,
                percent: *percent,
                until: now + *lasts,
            }),
            Event::Cut { replica, lasts } => {
                if let Some(of) = self.replicas.get(*replica) {
                    of.cut(true);
                    self.cuts.push((now + *lasts, *replica));
                }
            }
            Event::Kill {
                replica,
                down,
                ahead,
            } => {
                if let Some(of) = self.replicas.get_mut(*replica) {
                    of.kill();
                    self.starts.push((now + *down, *replica, *ahead));
                }
            }
            Event::Stop { replica, down } => {
                if let Some(of) = self.replicas.get_mut(*replica) {
                    of.cut(false);
                    of.stop().await;
                    self.starts.push((Instant::now() + *down, *replica, 0));
                }
            }
            Event::Compact => self.world.api.compact(),
            Event::EndWatches => self.world.api.drop_watches(),
            Event::ServerClock {
                ahead,
                is_one_of_two,
            } => {
                let ahead = SignedDuration::from_secs(*ahead);
                let right = is_one_of_two.then_some(SignedDuration::ZERO);
                let clocks: Vec<_> = right.into_iter().chain([ahead]).collect();
                self.world.api.set_clocks(&clocks);
            }
            Event::Leave { kubelet } => {
                if let Some(kubelet) = self.kubelets.get_mut(*kubelet) {
                    kubelet.stop();
                    delete_node(&self.administrator, &kubelet.name).await;
                }
                self.delete_machine(*kubelet);
            }
            Event::Join { kubelet } => {
                if let Some(of) = self.kubelets.get_mut(*kubelet)
                    && !of.is_running()
                {
                    of.start(Duration::ZERO);
                    let after = self.delay();
                    self.make_machine(*kubelet, after);
                }
            }
            Event::Recreate { kubelet, after } => {
                if let Some(kubelet) = self.kubelets.get_mut(*kubelet) {
                    delete_node(&self.administrator, &kubelet.name).await;
                    kubelet.stop();
                    kubelet.start(*after);
                }
            }
            Event::Move { kubelet } => {
                let address = self.next_address();
                if let Some(kubelet) = self.kubelets.get(*kubelet) {
                    if let Some(before) = kubelet.address() {
                        self.world.truth().shown.remove(&before.to_string());
                    }
                    kubelet.set_address(address);
                }
                let after = self.delay();
                self.make_machine(*kubelet, after);
            }
            Event::Attack { attack, lasts } => {
                let running = self.kubelets.iter().filter(|kubelet| kubelet.is_running());
                let victims =
                    running.filter_map(|kubelet| Some((kubelet.name.clone(), kubelet.address()?)));
                let user = node_user(&attacker::node(self.attacks));
                let client = client(&self.world, user, Party::Kubelets);
                let victims = victims.collect();
                let started = Attacker::start(self.attacks, attack.clone(), victims, client);
                self.attackers.push((now + *lasts, started));
                self.attacks += 1;
            }
            Event::SignerPause { lasts } => {
                self.signer_pause.send_replace(now + *lasts);
            }
            Event::Labels { lasts } => {
                self.labels.send_replace(now + *lasts);
            }
            Event::Reload { terms, delays } => {
                let number = self.next_policy(*terms);
                let delays = delays.iter().enumerate();
                let reads = delays.map(|(replica, delay)| (now + *delay, replica, number));
                self.reads.extend(reads);
            }
            Event::BrokenPolicy => {
                for replica in &self.replicas {
                    replica.read_text("kind: Policy\nspec: {enforcement: Never}\n".into());
                }
            }
            Event::LoseMachine { kubelet, lasts } => {
                self.delete_machine(*kubelet);
                self.machines.push((now + *lasts, *kubelet));
            }
        }
    }

    /// The delay of the controller of Machines.
    fn delay(&self) -> Duration {
        let millis = self.world.elapsed().as_millis();
        let mut rng = self
            .world
            .rng("machines", u64::try_from(millis).unwrap_or_default());
        Duration::from_secs(30).mul_f64(rng.share())
    }

    /// Adds a policy. Returns its number.
    fn next_policy(&self, terms: Terms) -> usize {
        let mut truth = self.world.truth();
        truth.policies.push(terms);
        truth.policies.len() - 1
    }

    /// Adds an observer that reads the policy at rest.
    pub(super) fn observe(&mut self) {
        let policy = self.world.truth().policies.len() - 1;
        let index = self.replicas.len();
        let mut observer = Replica::new(index, Role::Observer, &self.world, policy);
        observer.start(SignedDuration::ZERO);
        self.replicas.push(observer);
    }

    /// Evicts all attackers.
    pub(super) async fn evict(&mut self) {
        for (_, attacker) in self.attackers.drain(..) {
            attacker.evict(&self.administrator).await;
        }
    }

    /// Ends faults and attacks, and starts whatever is not running. The attackers' Nodes stay.
    async fn calm_down(&mut self, terms: Terms) {
        self.world.trace("EVENT faults and attacks end");
        *self.world.faults() = Faults::default();
        self.labels.send_replace(Instant::now());
        self.world.api.set_clocks(&[]);
        self.cuts.clear();
        self.starts.clear();
        self.reads.clear();
        self.machines.clear();
        let policy = self.next_policy(terms);
        for replica in &mut self.replicas {
            replica.cut(false);
            replica.read_policy(policy);
            replica.start(SignedDuration::ZERO);
        }
        for (_, attacker) in &self.attackers {
            attacker.stop();
        }
        for kubelet in 0..self.kubelets.len() {
            self.make_machine(kubelet, Duration::ZERO);
        }
        for kubelet in &mut self.kubelets {
            if !kubelet.is_running() {
                kubelet.start(Duration::ZERO);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Removes and returns what is due.
fn take_due<T>(planned: &mut Vec<T>, is_due: impl Fn(&T) -> bool) -> Vec<T> {
    planned.extract_if(.., |one| is_due(one)).collect()
}
