//! One write of a condition.

use kube::Client;

use super::judged::Write;
use super::state::Fresh;
use crate::cluster::approval::{self, Outcome};
use crate::cluster::lease::Leadership;
use judge::csr::Object;

/// Writes conditions.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    leadership: Leadership,
}

/// The end of a write.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The request as it is now, if it has changed.
    pub(super) fresh: Fresh,
}

impl Writer {
    pub(super) fn new(client: Client, leadership: Leadership) -> Writer {
        Writer { client, leadership }
    }

    /// Writes, if this replica still leads at this very moment.
    pub(super) async fn write(&self, object: &Object, write: &Write) -> Ended {
        let kept = &object.kept;
        let outcome = if self.leadership.may_write() {
            match write {
                Write::Approve(approval) => approval::approve(&self.client, approval, kept).await,
                Write::Deny(denial) => approval::deny(&self.client, denial, kept).await,
            }
        } else {
            Outcome::NotLeading
        };
        if outcome != Outcome::Changed {
            return outcome.into();
        }
        match approval::read(&self.client, &object.name).await {
            Ok(found) => Ended {
                outcome,
                fresh: found.map(|request| Box::new(request.split())),
            },
            Err(why) => Outcome::Failed { why, after: None }.into(),
        }
    }
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Ended {
        Ended {
            outcome,
            fresh: None,
        }
    }
}
