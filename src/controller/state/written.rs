//! The end of a write, and what follows from each outcome.

use std::time::Duration;

use super::Reconciler;
use crate::cluster::approval::Outcome;
use crate::cluster::watch::Backoff;
use crate::controller::judged::{Now, Turn, Write};
use judge::csr::Uid;
use judge::csr::{Object, Settled};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Conflicts in a row that are retried at once. More of them mean that another writer reacts to ours.
const MOST_CONFLICTS: u32 = 5;

/// A request as it was read after a conflict, with its bytes; `None` if it is gone.
pub(in crate::controller) type Fresh = Option<Box<(Object, Vec<u8>)>>;

impl Reconciler {
    /// Applies the end of a write.
    pub(in crate::controller) fn written(
        &mut self,
        turn: &Turn,
        outcome: &Outcome,
        fresh: Fresh,
        now: Now,
    ) {
        let uid = &turn.uid;
        self.writing.remove(uid);
        let overtaken = self.overtaken.remove(uid);
        self.queue.end(&turn.object.requestor.username);
        match outcome {
            Outcome::Written => {
                if matches!(turn.write, Some(Write::Approve(_))) {
                    self.approved(uid, overtaken);
                }
                self.forget(uid);
            }
            Outcome::Gone(_) => self.forget(uid),
            Outcome::Changed => match fresh {
                Some(fresh) if fresh.0.uid == turn.object.uid => {
                    let failures = self.failed_again(uid);
                    if failures > MOST_CONFLICTS {
                        self.try_again(uid, backoff(failures), now);
                        return;
                    }
                    let (object, encoded) = *fresh;
                    self.request_seen(object, &encoded, now);
                    self.requeue(vec![uid.clone()]);
                }
                // Another request by the same name: its own event brings it.
                Some(_) | None => self.forget(uid),
            },
            Outcome::NotLeading => self.try_again(uid, Duration::ZERO, now),
            // Only an administrator can fix it, which takes longer than milliseconds.
            Outcome::Forbidden(_) => self.try_again(uid, LAST_RETRY, now),
            Outcome::Failed { after, .. } => {
                let after = after.unwrap_or_default();
                // The later of both: a write that failed otherwise does not end the pause that the
                // API server has asked for.
                self.paused_until = self.paused_until.max(Some(now.monotonic + after));
                let failures = self.failed_again(uid);
                self.try_again(uid, after.max(backoff(failures)), now);
            }
        }
    }

    /// Counts a failure. Returns how many there have been in a row.
    fn failed_again(&mut self, uid: &Uid) -> u32 {
        self.book.get_mut(uid).map_or(0, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    fn try_again(&mut self, uid: &Uid, after: Duration, now: Now) {
        if self.book.get(uid).is_some() {
            self.parking.park(uid, &[], now.monotonic + after);
        }
    }

    fn approved(&mut self, uid: &Uid, overtaken: Option<Settled>) {
        match overtaken {
            Some(Settled::Issued) => self.issued += 1,
            Some(Settled::Denied | Settled::Failed) => {}
            None if self.book.get(uid).is_none() => {}
            None | Some(Settled::Approved) => {
                self.unissued.insert(uid.clone());
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    for _ in 1..failures.min(16) {
        backoff.pause();
    }
    backoff.pause()
}
