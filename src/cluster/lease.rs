//! Leadership by a Lease: one replica writes, the others keep ready.
//!
//! A holder that cannot renew stops before another may start: it counts the validity of its
//! Lease from *before* the renewal was sent, on the monotonic clock, and keeps back from it the
//! time that a write may be on its way. A candidate counts from when it *saw* the Lease change,
//! never from the times written in it, so clocks need not agree. Every update carries the
//! resourceVersion that it rests on.
//!
//! What this cannot hold against: an administrator who edits or deletes the Lease makes two
//! leaders until the old one has looked again, `RENEW_EVERY` and `LEASE_DEADLINE` later; and a
//! process that is frozen between its last look at the clock and the sending of a write sends it
//! when it thaws. Both are harmless: a write is conditional on the request being as it was judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::connection::{LEASE_DEADLINE, WRITE_DEADLINE};
use super::error::ApiError;
use super::random::Random;

/// How long a Lease holds without renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a candidate looks at it.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// A write that starts this long after the last renewal was sent is over, one way or the other,
/// before the Lease is.
const WRITE_WITHIN: Duration = DURATION.saturating_sub(WRITE_DEADLINE.saturating_add(MARGIN));
const MARGIN: Duration = Duration::from_secs(1);

/// Whether a write may start now. Cheap to ask, right before every write.
#[derive(Clone, Debug)]
pub struct Leadership {
    epoch: Instant,
    /// Milliseconds from `epoch` until which a write may start; `u64::MAX` for ever.
    writes_until: Arc<AtomicU64>,
}

impl Leadership {
    /// Nobody's yet.
    pub fn not_held() -> Leadership {
        Leadership {
            epoch: Instant::now(),
            writes_until: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Without leader election whoever runs may write.
    pub fn without_election() -> Leadership {
        let leadership = Leadership::not_held();
        leadership.writes_until.store(u64::MAX, Ordering::SeqCst);
        leadership
    }

    /// Whether a write may start now.
    pub fn may_write(&self) -> bool {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.writes_until.load(Ordering::SeqCst)
    }

    fn extend(&self, renewed: Instant) {
        let until = renewed.duration_since(self.epoch) + WRITE_WITHIN;
        let until = u64::try_from(until.as_millis()).unwrap_or(0);
        self.writes_until.store(until, Ordering::SeqCst);
    }

    fn end(&self) {
        self.writes_until.store(0, Ordering::SeqCst);
    }
}

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    leading: watch::Sender<bool>,
    /// The resourceVersion last seen and when it was first seen.
    seen: Option<(String, Instant)>,
    /// Whether an update with our name was ever sent. Before that, our name in the Lease is
    /// somebody else's doing, and whoever led before may not know yet.
    claimed: bool,
    /// The other replica that holds it, as last seen.
    other_holder: Option<String>,
    clock: Clock,
    random: Random,
}

impl Candidate {
    /// A candidate for the Lease of this name. `leading` is logged of every change. The identity
    /// must be of this process alone, not of a Pod that may be started again.
    pub fn new(
        api: Api<Lease>,
        name: &str,
        identity: &str,
        leadership: Leadership,
        leading: watch::Sender<bool>,
        clock: Clock,
        random: Random,
    ) -> Candidate {
        Candidate {
            api,
            name: name.to_owned(),
            identity: identity.to_owned(),
            leadership,
            leading,
            seen: None,
            claimed: false,
            other_holder: None,
            clock,
            random,
        }
    }

    /// Takes part until the future is dropped; call [`Candidate::release`] afterwards.
    pub async fn run(&mut self) {
        let mut logged: Option<ApiError> = None;
        let mut led = false;
        loop {
            let sent = Instant::now();
            let result = timeout(LEASE_DEADLINE, self.try_acquire_or_renew(sent)).await;
            let failure = result.unwrap_or(Err(ApiError::Timeout)).err();
            if let Some(error) = &failure
                && failure != logged
            {
                tracing::warn!(lease = self.name, "cannot read or renew the Lease: {error}");
            }
            let renewed = failure.is_none();
            logged = failure;
            let leads = self.leadership.may_write();
            match (led, leads) {
                (false, true) => tracing::info!(
                    lease = self.name,
                    identity = self.identity,
                    "this replica leads"
                ),
                (true, false) => tracing::warn!(lease = self.name, "this replica leads no more"),
                (true, true) | (false, false) => {}
            }
            led = leads;
            self.leading
                .send_if_modified(|before| std::mem::replace(before, leads) != leads);
            sleep(if leads && renewed {
                RENEW_EVERY
            } else {
                RETRY_EVERY + self.random.jitter(RETRY_EVERY / 5)
            })
            .await;
        }
    }

    /// Gives the Lease away, if it is ours, so that another need not wait for its end. To be
    /// called when no write is on its way any more.
    pub async fn release(&mut self) {
        self.leadership.end();
        self.leading.send_replace(false);
        if !self.claimed {
            return;
        }
        let released = async {
            loop {
                let lease = self.api.get(&self.name).await?;
                if holder(&lease) != Some(self.identity.as_str()) {
                    return Ok(());
                }
                let mut spec = lease.spec.clone().unwrap_or_default();
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                match self.replace(lease.metadata, spec).await {
                    // A last renewal was still on its way.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    result => return Ok(result?),
                }
            }
        };
        let result = timeout(LEASE_DEADLINE, released).await;
        match result.unwrap_or(Err(ApiError::Timeout)) {
            Ok(()) => tracing::info!(lease = self.name, "gave the Lease away"),
            Err(error) => {
                tracing::warn!(lease = self.name, "cannot give the Lease away: {error}");
            }
        }
    }

    /// One look at the Lease, and one update if it is ours or free.
    async fn try_acquire_or_renew(&mut self, sent: Instant) -> Result<(), ApiError> {
        let found = self.api.get_opt(&self.name).await?;
        // From the answer on, not from the question: the holder may have renewed in between.
        let read = Instant::now();
        let Some(lease) = found else {
            self.leadership.end();
            self.acquire_or_renew(None, sent).await?;
            return Ok(());
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, read));
                read
            }
        };
        let ours = self.claimed && holder(&lease) == Some(self.identity.as_str());
        if !ours {
            // Somebody has edited it, or has taken it over: what was renewed holds no more.
            self.leadership.end();
        }
        let free = holder(&lease).is_none();
        let expired = since.elapsed() >= lease_duration(&lease);
        if ours || free || expired {
            self.other_holder = None;
            self.acquire_or_renew(Some(lease), sent).await?;
        } else {
            self.log_other_holder(&lease);
        }
        Ok(())
    }

    /// Says who leads, once for each holder: else nobody knows why this one does nothing.
    fn log_other_holder(&mut self, lease: &Lease) {
        let holder = holder(lease);
        if holder == self.other_holder.as_deref() {
            return;
        }
        self.other_holder = holder.map(str::to_owned);
        tracing::info!(
            lease = self.name,
            holder = self.other_holder,
            "another replica leads, this one stands by"
        );
    }

    async fn acquire_or_renew(
        &mut self,
        lease: Option<Lease>,
        sent: Instant,
    ) -> Result<(), ApiError> {
        let now = MicroTime(self.clock.wall());
        let old = lease
            .clone()
            .and_then(|lease| lease.spec)
            .unwrap_or_default();
        let ours = old.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = old.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if ours {
                old.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        };
        // Said before it is sent: the update may arrive although no answer does.
        self.claimed = true;
        match lease {
            Some(lease) => {
                self.replace(lease.metadata, spec).await?;
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(spec),
                };
                self.api.create(&PostParams::default(), &lease).await?;
            }
        }
        self.leadership.extend(sent);
        Ok(())
    }

    /// Updates on condition that nobody else has: `metadata` carries the resourceVersion.
    async fn replace(&self, metadata: ObjectMeta, spec: LeaseSpec) -> Result<(), kube::Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                managed_fields: None,
                ..metadata
            },
            spec: Some(spec),
        };
        self.api
            .replace(&self.name, &PostParams::default(), &lease)
            .await?;
        Ok(())
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// How long a Lease holds without change. Never less than a holder of this program counts on,
/// whatever it says; only a free one may.
fn lease_duration(lease: &Lease) -> Duration {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
        .max(DURATION)
}
