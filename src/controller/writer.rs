//! Writes of conditions, concurrently, each with exactly one outcome.

use std::collections::HashMap;
use std::sync::Arc;

use kube::Client;
use tokio::task::{Id, JoinSet};

use super::judged::{Judged, Write};
use super::write_limit::{Halvings, WriteLimit};
use crate::cluster::approval::{self, Outcome};
use crate::cluster::leadership::Leadership;
use judge::csr::Uid;

/// Writer of conditions.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    leadership: Leadership,
}

impl Writer {
    /// A writer that stops with the leadership.
    pub(super) fn new(client: Client, leadership: Leadership) -> Writer {
        Writer { client, leadership }
    }

    /// Writes the condition, if this replica is still the leader.
    pub(super) async fn write(self, judged: Arc<Judged>) -> Outcome {
        let preserved = &judged.object.preserved;
        match &judged.write {
            Some(_) if !self.leadership.may_write() => Outcome::NotLeading,
            Some(Write::Approve(approval)) => {
                approval::approve(&self.client, approval, preserved).await
            }
            Some(Write::Deny(denial)) => approval::deny(&self.client, denial, preserved).await,
            None => Outcome::Failed {
                why: "there is no condition to write, which is a defect".to_owned(),
                retry_after: None,
            },
        }
    }
}

/// Running writes, with a limit of their number.
#[derive(Debug)]
pub(super) struct Writes {
    tasks: JoinSet<Outcome>,
    /// The request of each task: a task that panics reports only its ID.
    requests: HashMap<Id, (Uid, Halvings)>,
    limit: WriteLimit,
}

impl Writes {
    /// At most `most` writes at a time, fewer while the API server is overloaded.
    pub(super) fn new(most: usize) -> Writes {
        Writes {
            tasks: JoinSet::new(),
            requests: HashMap::new(),
            limit: WriteLimit::new(most),
        }
    }

    /// Starts the write on a request.
    pub(super) fn start(
        &mut self,
        uid: Uid,
        write: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let task = self.tasks.spawn(write);
        let started = self.limit.halvings();
        self.requests.insert(task.id(), (uid, started));
    }

    /// True if another write can start.
    pub(super) fn has_room(&self) -> bool {
        self.tasks.len() < self.limit.current()
    }

    /// True if no write is running.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The limit in force.
    pub(super) fn limit(&self) -> usize {
        self.limit.current()
    }

    /// Waits for the next outcome; `None` if no write is running. A write that panics, which is a
    /// defect, has failed: its request must not stay in the state of being written.
    pub(super) async fn next(&mut self) -> Option<(Uid, Outcome)> {
        loop {
            let (id, outcome) = match self.tasks.join_next_with_id().await? {
                Ok(ended) => ended,
                Err(error) => {
                    let why = format!("the write ended without an outcome: {error}");
                    (
                        error.id(),
                        Outcome::Failed {
                            why,
                            retry_after: None,
                        },
                    )
                }
            };
            if let Some((uid, started)) = self.requests.remove(&id) {
                self.limit.ended(started, &outcome);
                return Some((uid, outcome));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_panics_has_failed() {
        let mut writes = Writes::new(8);
        assert!(writes.next().await.is_none());
        writes.start("a".into(), async { panic!("a defect") });
        let (uid, outcome) = writes.next().await.unwrap();
        assert_eq!(&*uid, "a");
        assert!(
            matches!(
                outcome,
                Outcome::Failed {
                    retry_after: None,
                    ..
                }
            ),
            "{outcome:?}"
        );
        writes.start("b".into(), async { Outcome::Written });
        assert_eq!(writes.next().await, Some(("b".into(), Outcome::Written)));
        assert_eq!((writes.tasks.len(), writes.requests.len()), (0, 0));
    }
}
