//! Application of the outcome of a write.

use std::time::Duration;

use super::State;
use crate::cluster::approval::Outcome;
use crate::cluster::backoff::Backoff;
use crate::cluster::clock::Now;
use crate::controller::effect::Effect;
use crate::controller::judged::Write;
use judge::csr::{Settled, Uid, Username};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Limit of conflicts in a row that are retried at once. More mean that another writer reacts to ours.
const MOST_CONFLICTS: u32 = 5;

impl State {
    /// Applies the outcome of the write on this request. Returns the effects.
    pub(in crate::controller) fn written(
        &mut self,
        uid: &Uid,
        outcome: Outcome,
        now: Now,
    ) -> Vec<Effect> {
        let Some(judged) = self.writing.remove(uid) else {
            return Vec::new();
        };
        let overtaken = self.overtaken.remove(uid);
        self.queue.end(&judged.object.requestor.username);
        match &outcome {
            Outcome::Written => {
                match &judged.write {
                    Some(Write::Approve(_)) => {
                        self.approved(uid, &judged.object.requestor.username, overtaken);
                    }
                    Some(Write::Deny(_)) => {
                        let requestor = &judged.object.requestor.username;
                        self.denials.spend(requestor, now.instant);
                    }
                    None => {}
                }
                self.forget(uid);
            }
            Outcome::Gone(_) => self.forget(uid),
            Outcome::Changed(Some(fresh))
                if fresh.0.uid == *uid && self.open.get(uid).is_some() =>
            {
                let failures = self.failed_again(uid);
                if failures > MOST_CONFLICTS {
                    self.try_again(uid, self.backoff(failures), now);
                } else {
                    let (object, encoded) = &**fresh;
                    self.request_seen(object.clone(), encoded, false, now);
                    self.requeue(vec![uid.clone()]);
                }
            }
            // Another request by the same name, whose own event brings it, or one that the watch has
            // reported deleted meanwhile: it would never be reported again.
            Outcome::Changed(_) => self.forget(uid),
            Outcome::NotLeading => self.try_again(uid, Duration::ZERO, now),
            // Only an administrator can fix it, which takes longer than milliseconds.
            Outcome::Forbidden(_) => self.try_again(uid, LAST_RETRY, now),
            Outcome::Failed { retry_after, .. } => {
                let after = retry_after.unwrap_or_default();
                // The later of both: a write that failed otherwise does not end the pause that the
                // API server has asked for.
                self.paused_until = self.paused_until.max(Some(now.instant + after));
                let failures = self.failed_again(uid);
                self.try_again(uid, after.max(self.backoff(failures)), now);
            }
        }
        let after = now.instant.duration_since(judged.seen);
        vec![Effect::Ended {
            judged,
            outcome,
            after,
        }]
    }

    /// Counts a failure. Returns the number of failures in a row.
    fn failed_again(&mut self, uid: &Uid) -> u32 {
        self.open.get_mut(uid).map_or(0, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    fn try_again(&mut self, uid: &Uid, after: Duration, now: Now) {
        if self.open.get(uid).is_some() {
            self.waiting.park(uid, &[], now.instant + after);
        }
    }

    fn approved(&mut self, uid: &Uid, requestor: &Username, overtaken: Option<Settled>) {
        match overtaken {
            Some(Settled::Issued) => self.totals.issued += 1,
            Some(Settled::Denied | Settled::Failed) => {}
            None if self.open.get(uid).is_none() => {}
            None | Some(Settled::Approved) => {
                self.unissued.add(uid, requestor);
            }
        }
    }

    fn backoff(&self, failures: u32) -> Duration {
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY, &self.random);
        for _ in 1..failures.min(16) {
            backoff.pause();
        }
        backoff.pause()
    }
}
