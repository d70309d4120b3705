//! One write, from the turn that led to it to what follows from its end.

use std::time::Duration;

use kube::Client;

use super::turn::{Turn, Write, Written};
use crate::cluster::approval::{self, Outcome};
use crate::cluster::lease::Leadership;
use crate::cluster::watch::Backoff;
use judge::csr::Object;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Conflicts in a row after which somebody is in a loop with us.
const MOST_CONFLICTS: u32 = 5;

/// Writes conditions.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    leadership: Leadership,
}

/// A write that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) turn: Turn,
    pub(super) write: Write,
    pub(super) outcome: Outcome,
    /// The request as it is now, if it has changed.
    pub(super) fresh: Option<Box<(Object, Vec<u8>)>>,
}

impl Writer {
    pub(super) fn new(client: Client, leadership: Leadership) -> Writer {
        Writer { client, leadership }
    }

    /// Writes, if this replica still leads at this very moment.
    pub(super) async fn write(&self, turn: Turn, write: Write) -> Ended {
        let kept = &turn.object.kept;
        let mut outcome = if self.leadership.may_write() {
            match &write {
                Write::Approve(approval) => approval::approve(&self.client, approval, kept).await,
                Write::Deny(denial) => approval::deny(&self.client, denial, kept).await,
            }
        } else {
            Outcome::NotLeading
        };
        let mut fresh = None;
        if outcome == Outcome::Changed {
            match approval::read(&self.client, &turn.object.name).await {
                Ok(found) => fresh = found.map(|request| Box::new(request.split())),
                Err(why) => outcome = Outcome::Failed { why, after: None },
            }
        }
        Ended {
            turn,
            write,
            outcome,
            fresh,
        }
    }
}

/// What is to be done now. `failures` counts the failed writes of this request in a row.
pub(super) fn follow_up(
    outcome: &Outcome,
    fresh: Option<Box<(Object, Vec<u8>)>>,
    failures: u32,
) -> Written {
    match outcome {
        Outcome::Written => Written::Done,
        Outcome::Changed if failures <= MOST_CONFLICTS => Written::Changed(fresh),
        Outcome::Gone(_) => Written::Gone,
        Outcome::NotLeading => Written::TryAgain(Duration::ZERO),
        // Nothing but an administrator mends it, and that is not a matter of milliseconds.
        Outcome::Forbidden(_) => Written::TryAgain(LAST_RETRY),
        Outcome::Changed => Written::TryAgain(backoff(failures)),
        Outcome::Failed { after, .. } => {
            Written::TryAgain(after.unwrap_or_default().max(backoff(failures)))
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
