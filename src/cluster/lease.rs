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
//!
//! A replica that writes nothing (enforcement `DryRun`) needs no Lease: it releases the one that it holds,
//! and takes part again before it writes.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::connection::{LEASE_DEADLINE, WRITE_DEADLINE};
use super::error::ApiError;
use super::leadership::Leadership;
use super::lease_health::{LeaseError, LeaseHealth};
use super::random::Random;

/// Validity of a Lease without renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// Interval of renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Interval at which a candidate reads the Lease.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Interval at which a standby checks that it may update the Lease.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// Time after a renewal during which a write may start. The write then ends before the Lease does.
const WRITE_WITHIN: Duration = DURATION.saturating_sub(WRITE_DEADLINE.saturating_add(MARGIN));
const MARGIN: Duration = Duration::from_secs(1);

/// Receiver of the reason for which a candidate is not ready; `None` while it is.
pub type ReadinessReport = Box<dyn Fn(Option<String>) + Send + Sync>;

/// Settings of a candidate.
pub struct Election {
    /// The Leases of one namespace.
    pub api: Api<Lease>,
    /// The namespace, for messages.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Identity, unique to this process. A Pod name is not, because its container may restart.
    pub identity: String,
    /// The right to write that the election grants.
    pub leadership: Leadership,
    /// Receiver of every change of leadership.
    pub leading: watch::Sender<bool>,
    /// Receiver of every change of readiness.
    pub report: ReadinessReport,
    /// The clock.
    pub clock: Clock,
    /// Randomness for jitter.
    pub random: Random,
}

/// A candidate for the Lease.
pub struct Candidate {
    election: Election,
    health: LeaseHealth,
    /// The last observed resourceVersion, and when it was first observed.
    seen: Option<(String, Instant)>,
    /// True once an update with our identity was sent. Before that, our identity in the Lease is
    /// not ours, and an earlier leader may still write.
    claimed: bool,
    /// Identity of the other replica that holds the Lease, as last observed.
    other_holder: Option<String>,
    /// The next check of a standby's right to update the Lease.
    next_check: Instant,
}

impl Candidate {
    /// A candidate that does not take part yet. It is not ready before it has read the Lease.
    pub fn new(election: Election) -> Candidate {
        (election.report)(Some("it has not been read yet".to_owned()));
        Candidate {
            health: LeaseHealth::new(&election.namespace, &election.name),
            election,
            seen: None,
            claimed: false,
            other_holder: None,
            next_check: Instant::now(),
        }
    }

    /// Takes part in the election while `needed` is true, until the future is dropped. Call
    /// [`Candidate::release`] afterwards. `needed` must become false only when no write is in flight.
    pub async fn run(&mut self, mut needed: watch::Receiver<bool>) {
        loop {
            if !*needed.borrow_and_update() {
                tracing::info!(
                    lease = self.election.name,
                    "enforcement is DryRun: nothing is written, and the Lease is not needed"
                );
                self.health.record(Ok(()), Instant::now());
                self.health.record_update_check(Ok(()));
                (self.election.report)(None);
            }
            if needed.wait_for(|needed| *needed).await.is_err() {
                return std::future::pending().await;
            }
            tokio::select! {
                biased;
                Ok(_) = needed.wait_for(|needed| !*needed) => {}
                () = self.take_part() => {}
            }
            self.release().await;
        }
    }

    async fn take_part(&mut self) {
        let mut logged: Option<LeaseError> = None;
        let mut led = false;
        loop {
            let sent = Instant::now();
            let result = timeout(LEASE_DEADLINE, self.try_acquire_or_renew(sent)).await;
            let failure =
                result.unwrap_or_else(|_| Err(failed("read or renew")(ApiError::Timeout)));
            let failure = failure.err();
            self.health
                .record(failure.as_ref().map_or(Ok(()), Err), Instant::now());
            if let Some(error) = &failure
                && failure != logged
            {
                tracing::warn!("{}", self.health.describe(error));
            }
            let renewed = failure.is_none();
            logged = failure;
            let leads = self.election.leadership.may_write();
            if leads {
                self.health.record_update_check(Ok(()));
            }
            (self.election.report)(self.health.unready(Instant::now()));
            self.log_change(led, leads);
            led = leads;
            let leading = &self.election.leading;
            leading.send_if_modified(|before| std::mem::replace(before, leads) != leads);
            let jitter = self.election.random.jitter(RETRY_EVERY / 5);
            sleep(if leads && renewed {
                RENEW_EVERY
            } else {
                RETRY_EVERY + jitter
            })
            .await;
        }
    }

    fn log_change(&self, led: bool, leads: bool) {
        let Election { name, identity, .. } = &self.election;
        match (led, leads) {
            (false, true) => tracing::info!(lease = name, identity, "became the leader"),
            (true, false) => tracing::warn!(lease = name, "lost leadership"),
            (true, true) | (false, false) => {}
        }
    }

    /// Releases the Lease if this replica holds it, so that another need not wait until it expires.
    /// Call it when no write is in flight.
    pub async fn release(&mut self) {
        let Election {
            api,
            name,
            identity,
            leadership,
            leading,
            ..
        } = &self.election;
        leadership.end();
        leading.send_replace(false);
        if !self.claimed {
            return;
        }
        let released = async {
            loop {
                let lease = api.get(name).await?;
                if holder(&lease) != Some(identity.as_str()) {
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
            Ok(()) => {
                self.claimed = false;
                tracing::info!(lease = self.election.name, "released the Lease");
            }
            Err(error) => {
                let lease = &self.election.name;
                tracing::warn!(
                    lease,
                    "cannot release the Lease, which expires by itself: {error}"
                );
            }
        }
    }

    /// Reads the Lease, and acquires or renews it if it is ours, free or expired.
    async fn try_acquire_or_renew(&mut self, sent: Instant) -> Result<(), LeaseError> {
        let found = self.election.api.get_opt(&self.election.name).await;
        let found = found.map_err(|error| failed("get")(error.into()))?;
        // Counted from the response: the holder may have renewed after the request was sent.
        let read = Instant::now();
        let Some(lease) = found else {
            self.election.leadership.end();
            return self.acquire_or_renew(None, sent).await;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, read));
                read
            }
        };
        let ours = self.claimed && holder(&lease) == Some(self.election.identity.as_str());
        if !ours {
            // The Lease was edited or taken over, so the last renewal is void.
            self.election.leadership.end();
        }
        let free = holder(&lease).is_none();
        let expired = since.elapsed() >= lease_duration(&lease);
        if ours || free || expired {
            self.other_holder = None;
            self.acquire_or_renew(Some(lease), sent).await?;
        } else {
            self.log_other_holder(&lease);
            self.check_update(lease).await;
        }
        Ok(())
    }

    /// Checks from time to time that a standby may update the Lease, by an update without a change that the API
    /// server does not store.
    async fn check_update(&mut self, lease: Lease) {
        if Instant::now() < self.next_check {
            return;
        }
        self.next_check = Instant::now() + CHECK_EVERY;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let Election { api, name, .. } = &self.election;
        let lease = without_managed_fields(lease.metadata, lease.spec.unwrap_or_default());
        let updated = api.replace(name, &params, &lease).await;
        let updated = updated.map(drop);
        let updated = updated.map_err(|error| failed("update")(error.into()));
        self.health.record_update_check(updated);
        if self.health.has_no_update() {
            self.next_check = Instant::now() + RETRY_EVERY;
        }
    }

    /// Logs the holder, once for each. It explains why this replica is idle.
    fn log_other_holder(&mut self, lease: &Lease) {
        let holder = holder(lease);
        if holder == self.other_holder.as_deref() {
            return;
        }
        self.other_holder = holder.map(str::to_owned);
        tracing::info!(
            lease = self.election.name,
            holder = self.other_holder,
            "standing by: another replica holds the Lease"
        );
    }

    async fn acquire_or_renew(
        &mut self,
        lease: Option<Lease>,
        sent: Instant,
    ) -> Result<(), LeaseError> {
        let identity = &self.election.identity;
        let now = MicroTime(self.election.clock.wall());
        let old = lease
            .clone()
            .and_then(|lease| lease.spec)
            .unwrap_or_default();
        let ours = old.holder_identity.as_deref() == Some(identity.as_str());
        let transitions = old.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(identity.clone()),
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
                let replaced = self.replace(lease.metadata, spec).await;
                replaced.map_err(|error| failed("update")(error.into()))?;
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.election.name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(spec),
                };
                let created = self
                    .election
                    .api
                    .create(&PostParams::default(), &lease)
                    .await;
                created.map_err(|error| failed("create")(error.into()))?;
            }
        }
        self.election.leadership.extend(sent, WRITE_WITHIN);
        Ok(())
    }

    /// Updates the Lease on condition that it is unchanged: `metadata` carries the resourceVersion.
    async fn replace(&self, metadata: ObjectMeta, spec: LeaseSpec) -> Result<(), kube::Error> {
        let Election { api, name, .. } = &self.election;
        let lease = without_managed_fields(metadata, spec);
        api.replace(name, &PostParams::default(), &lease).await?;
        Ok(())
    }
}

fn without_managed_fields(metadata: ObjectMeta, spec: LeaseSpec) -> Lease {
    Lease {
        metadata: ObjectMeta {
            managed_fields: None,
            ..metadata
        },
        spec: Some(spec),
    }
}

/// Converts an error of a request with this verb.
fn failed(verb: &'static str) -> impl FnOnce(ApiError) -> LeaseError {
    move |error| LeaseError { verb, error }
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

#[cfg(test)]
#[allow(clippy::expect_used, clippy::unwrap_used)]
mod tests;
