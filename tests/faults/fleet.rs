//! Who asks: kubelets that have a right to what they ask for, and attackers that have none.

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

/// A kubelet that has not got its certificate by then asks anew. Real ones wait longer; what they have
/// asked for before must be decided too.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Real ones pause for 2 to 32 seconds: then their pauses would be measured.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Kubelets that hold a connection at the same time.
const AT_ONCE: usize = 200;
/// The first kubelets may be attacked. Once somebody claims the address of one, it waits by design
/// until an administrator has removed the impostor: so these ask before anybody does, and then no more.
pub const VICTIM_COUNT: usize = 3;
/// The address of the Service `kubernetes`, in the embedded cluster and the real one.
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

/// Kubelets that have asked and wait.
pub struct PendingKubelets(JoinSet<()>);

impl Kubelets {
    /// So many, that have not come yet.
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

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Lets these ask, one after the other in this time.
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

    /// Lets all ask again and again until this moment: each has its certificate for 70 to 90 % of its
    /// life. The number of certificates, once all are served.
    pub async fn rotate(&self, life: Duration, until: Instant, seed: u64) -> Result<usize> {
        let mut rotations = JoinSet::new();
        for (index, resident) in (0..).zip(self.all.iter().skip(VICTIM_COUNT)) {
            let (resident, slots) = (resident.clone(), self.slots.clone());
            let mut choices = SeededRng::new(seed ^ index);
            rotations.spawn(async move {
                let mut served = 0;
                // Those of a grown cluster are of any age.
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

/// Attackers that have come, and what becomes of each.
pub struct Attacks(JoinSet<Result<(ForgeryKind, AttackOutcome)>>);

impl Attacks {
    /// So many strike, one after the other in this time.
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
                    // What the API server could not take, for a fault, comes again.
                    match struck.await {
                        Ok(AttackOutcome::Pending) | Err(_) => sleep(backoff.pause()).await,
                        Ok(fate) => return Ok((kind, fate)),
                    }
                }
            });
        }
        Ok(Self(attacks))
    }

    /// Waits until each is denied or refused, and counts them; one that is approved is an error.
    pub async fn denied(&mut self, patience: Duration) -> Result<usize> {
        let mut denied = 0;
        let all = async {
            while let Some(struck) = self.0.join_next().await {
                let (kind, fate) = struck.context("an attacker has stopped")??;
                match fate {
                    AttackOutcome::Denied { .. } | AttackOutcome::Refused(_) => denied += 1,
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

/// 10.66.0.1 and on.
fn own(index: u32) -> IpAddr {
    let first = Ipv4Addr::new(10, 66, 0, 1).to_bits();
    Ipv4Addr::from_bits(first.wrapping_add(index)).into()
}
