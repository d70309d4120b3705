//! The requestors: genuine kubelets, and attackers with forged requests.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use csr_warden::cluster::backoff::Backoff;
use csr_warden::cluster::random::Random;
use kube::Client;
use lab::attacker::{self, AttackOutcome};
use lab::fleet;
use lab::forgery::{Forgery, ForgeryKind, Targets};
use lab::kubelet::{Kubelet, Outcome};
use lab::random::SeededRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};

/// The time after which a kubelet without a certificate makes a new request. Real kubelets wait
/// longer. The older request must be decided too.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Real kubelets back off for 2 to 32 seconds, which would dominate the measurement.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The maximum number of kubelets with an open connection.
const AT_ONCE: usize = 200;
/// The number of kubelets that may be attacked. Once their address is claimed, they wait by design
/// until an administrator removes the impostor. So they request their certificate before the
/// attack, and not again.
pub const VICTIM_COUNT: usize = 3;
/// The address of the Service `kubernetes`, on the embedded and on the real API server.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The kubelets of a cluster.
pub struct Kubelets {
    all: Vec<Arc<Resident>>,
    slots: Arc<Semaphore>,
}

struct Resident {
    kubelet: Kubelet,
    registered: AtomicBool,
}

/// Kubelets that wait for a certificate.
pub struct PendingKubelets(JoinSet<()>);

impl Kubelets {
    /// Creates `count` kubelets, which do not register yet.
    pub async fn new(test_cluster: &TestCluster, count: usize) -> Result<Self> {
        let mut all = Vec::with_capacity(count);
        for index in 1..=count {
            let name = fleet::name(index);
            let user = format!("system:node:{name}");
            all.push(Arc::new(Resident {
                kubelet: Kubelet {
                    config: test_cluster.config_for(&user, &["system:nodes"]).await?,
                    ips: vec![fleet::address(index)],
                    labels: Vec::new(),
                    name,
                },
                registered: AtomicBool::new(false),
            }));
        }
        Ok(Self {
            all,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Returns the number of kubelets.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Lets these kubelets request certificates, spread over this time.
    pub fn ask(&self, which: Range<usize>, over: Duration) -> PendingKubelets {
        let mut pending = JoinSet::new();
        let count = u32::try_from(which.len().max(1)).unwrap_or(u32::MAX);
        for (index, resident) in (0..).zip(self.all.get(which).unwrap_or_default()) {
            let (resident, slots) = (resident.clone(), self.slots.clone());
            pending.spawn(async move {
                sleep(over * index / count).await;
                resident.until_served(&slots).await;
            });
        }
        PendingKubelets(pending)
    }

    /// Lets all kubelets renew until this instant, each at 70 to 90 % of its certificate's life.
    /// Returns the number of certificates once all are served.
    pub async fn rotate(&self, life: Duration, until: Instant, seed: u64) -> Result<usize> {
        let mut rotations = JoinSet::new();
        for (index, resident) in (0..).zip(self.all.iter().skip(VICTIM_COUNT)) {
            let (resident, slots) = (resident.clone(), self.slots.clone());
            let mut choices = SeededRng::new(seed ^ index);
            rotations.spawn(async move {
                let mut served = 0;
                // In an established cluster, certificates have any age.
                sleep(life.mul_f64(choices.share())).await;
                loop {
                    resident.until_served(&slots).await;
                    served += 1;
                    let due = Instant::now() + life.mul_f64(0.7 + 0.2 * choices.share());
                    if due > until {
                        return served;
                    }
                    sleep_until(due).await;
                }
            });
        }
        let mut served = 0;
        while let Some(one) = rotations.join_next().await {
            served += one.context("a kubelet has stopped")?;
        }
        Ok(served)
    }
}

impl PendingKubelets {
    /// Waits until all have their certificate.
    pub async fn served(&mut self, patience: Duration) -> Result<()> {
        let all = async {
            while let Some(one) = self.0.join_next().await {
                one.context("a kubelet has stopped")?;
            }
            Ok(())
        };
        match timeout(patience, all).await {
            Ok(done) => done,
            Err(_) => bail!("{} kubelets wait after {patience:?}", self.0.len()),
        }
    }
}

impl Resident {
    async fn until_served(&self, slots: &Semaphore) {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF, &Random::from_os());
        loop {
            let Ok(place) = slots.acquire().await else {
                return;
            };
            let outcome = timeout(ATTEMPT_TIMEOUT, self.attempt()).await;
            drop(place);
            if let Ok(Ok(Outcome::Served(_))) = outcome {
                return;
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn attempt(&self) -> Result<Outcome> {
        let client = self.kubelet.connect()?;
        if !self.registered.load(Ordering::SeqCst) {
            self.kubelet.register(&client).await?;
            self.registered.store(true, Ordering::SeqCst);
        }
        self.kubelet.ask(&client).await
    }
}

/// Running attacks, each with its kind and outcome.
pub struct Attacks(JoinSet<Result<(ForgeryKind, AttackOutcome)>>);

impl Attacks {
    /// Starts this number of attacks, spread over this time.
    pub async fn begin(
        test_cluster: &TestCluster,
        count: usize,
        over: Duration,
        seed: u64,
    ) -> Result<Self> {
        let mut choices = SeededRng::new(seed);
        let surroundings = Targets {
            service: SERVICE,
            api_server: Ipv4Addr::LOCALHOST.into(),
            victims: (1..=VICTIM_COUNT)
                .map(|index| (fleet::name(index), fleet::address(index)))
                .collect(),
        };
        let parts = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut attacks = JoinSet::new();
        for (index, kind) in (0..).zip(ForgeryKind::some(count, &mut choices)) {
            let node = format!("{ATTACKER_PREFIX}{}", index + 1);
            let user = format!("system:node:{node}");
            let config = test_cluster.config_for(&user, &["system:nodes"]).await?;
            let forgery = Forgery::new(kind, (node, own(index)), &surroundings, &mut choices);
            let admin = test_cluster.admin()?;
            attacks.spawn(async move {
                sleep(over * index / parts).await;
                let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF, &Random::from_os());
                let client = Client::try_from(config)?;
                loop {
                    let struck = async {
                        attacker::wait_for_victim(&admin, &forgery).await?;
                        attacker::attack(&client, &forgery).await
                    };
                    // A request that failed because of the fault is repeated.
                    match struck.await {
                        Ok(AttackOutcome::Pending) if kind.is_left_waiting() => {
                            return Ok((kind, AttackOutcome::Pending));
                        }
                        Ok(AttackOutcome::Pending) | Err(_) => sleep(backoff.pause()).await,
                        Ok(fate) => return Ok((kind, fate)),
                    }
                }
            });
        }
        Ok(Self(attacks))
    }

    /// Waits until each attack is denied or rejected, and returns their number. An approved one is
    /// an error.
    pub async fn denied(&mut self, patience: Duration) -> Result<usize> {
        let mut denied = 0;
        let all = async {
            while let Some(struck) = self.0.join_next().await {
                let (kind, fate) = struck.context("an attacker has stopped")??;
                match fate {
                    AttackOutcome::Denied { .. } | AttackOutcome::Refused(_) => denied += 1,
                    // Another Node's claim never denies. The end of the test checks that it is never approved.
                    AttackOutcome::Pending if kind.is_left_waiting() => denied += 1,
                    AttackOutcome::Approved | AttackOutcome::Pending => {
                        bail!("{kind:?}: {fate:?}")
                    }
                }
            }
            Ok(())
        };
        match timeout(patience, all).await {
            Ok(done) => done.map(|()| denied),
            Err(_) => bail!("{} forgeries are undecided, {denied} denied", self.0.len()),
        }
    }
}

/// Returns an attacker's own address, from 10.66.0.1.
fn own(index: u32) -> IpAddr {
    let first = Ipv4Addr::new(10, 66, 0, 1).to_bits();
    Ipv4Addr::from_bits(first.wrapping_add(index)).into()
}
