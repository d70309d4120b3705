//! Leader election by a Lease: one replica writes, the others stand by.
//!
//! A leader that cannot renew stops before another replica may start:
//!
//! - It counts the validity of its Lease from *before* it sent the renewal, on the monotonic clock.
//! - It reserves the time that a write may take.
//! - A candidate counts from when it *observed* a change of the Lease, not from the times in it.
//!   Clocks need not agree.
//! - Every update carries the resourceVersion that it is based on.
//!
//! Two cases remain:
//!
//! - An administrator who edits or deletes the Lease makes two leaders, until the old one reads it
//!   again. That is `RENEW_EVERY` and `LEASE_DEADLINE` later.
//! - A process that is frozen between its last check and a write sends the write when it resumes.
//!
//! Both are harmless, because a write is conditional on the request that was judged.

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

/// Validity of a Lease without renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// Interval of renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Interval at which a candidate reads the Lease.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Time after a renewal during which a write may start. The write then ends before the Lease does.
const WRITE_WITHIN: Duration = DURATION.saturating_sub(WRITE_DEADLINE.saturating_add(MARGIN));
const MARGIN: Duration = Duration::from_secs(1);

/// The right to write. Checked without a lock right before every write.
#[derive(Clone, Debug)]
pub struct Leadership {
    epoch: Instant,
    /// End of the right to write, in milliseconds from `epoch`; `u64::MAX` without leader election.
    writes_until: Arc<AtomicU64>,
}

impl Leadership {
    /// A leadership that is not held yet.
    pub fn not_held() -> Leadership {
        Leadership {
            epoch: Instant::now(),
            writes_until: Arc::new(AtomicU64::new(0)),
        }
    }

    /// A permanent leadership, for a replica without leader election.
    pub fn without_election() -> Leadership {
        let leadership = Leadership::not_held();
        leadership.writes_until.store(u64::MAX, Ordering::SeqCst);
        leadership
    }

    /// Returns true if a write may start now.
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

/// A candidate for the Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    leading: watch::Sender<bool>,
    /// The last observed resourceVersion, and when it was first observed.
    seen: Option<(String, Instant)>,
    /// True once an update with our identity was sent. Before that, our identity in the Lease is
    /// not ours, and an earlier leader may still write.
    claimed: bool,
    /// Identity of the other replica that holds the Lease, as last observed.
    other_holder: Option<String>,
    clock: Clock,
    random: Random,
}

impl Candidate {
    /// A candidate for the Lease of this name. `leading` receives every change of leadership.
    ///
    /// The identity must be unique to this process. A Pod name is not, because its container may
    /// restart.
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

    /// Takes part in the election until the future is dropped. Call [`Candidate::release`]
    /// afterwards.
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

    /// Releases the Lease if this replica holds it, so that another need not wait until it expires.
    /// Call it when no write is in flight.
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
                    // The last renewal was still in flight.
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

    /// Reads the Lease, and acquires or renews it if it is ours, free or expired.
    async fn try_acquire_or_renew(&mut self, sent: Instant) -> Result<(), ApiError> {
        let found = self.api.get_opt(&self.name).await?;
        // Counted from the response: the holder may have renewed after the request was sent.
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
            // The Lease was edited or taken over, so the last renewal is void.
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

    /// Logs the holder, once for each. It explains why this replica is idle.
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
        // Set before the update is sent: it may arrive even if no response does.
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
                let created = self.api.create(&PostParams::default(), &lease).await;
                created.map_err(|error| self.not_created(error.into()))?;
            }
        }
        self.leadership.extend(sent);
        Ok(())
    }

    /// The error for a Lease that does not exist. It is part of the manifests, which grant no right to
    /// create one.
    fn not_created(&self, error: ApiError) -> ApiError {
        let ApiError::Forbidden(why) = error else {
            return error;
        };
        ApiError::Forbidden(format!(
            "the Lease {} does not exist: apply deploy/base/lease.yaml, or upgrade the Helm release \
             ({why})",
            self.name
        ))
    }

    /// Updates the Lease on condition that it is unchanged: `metadata` carries the resourceVersion.
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

/// Validity of a Lease without a change. It is never shorter than [`DURATION`], which a holder of
/// this program relies on.
fn lease_duration(lease: &Lease) -> Duration {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
        .max(DURATION)
}
