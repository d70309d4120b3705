//! Writer of conditions.

use kube::Client;

use super::judged::{Judged, Write};
use crate::cluster::approval::{self, Outcome};
use crate::cluster::lease::Leadership;

/// Writes conditions.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    leadership: Leadership,
}

impl Writer {
    pub(super) fn new(client: Client, leadership: Leadership) -> Writer {
        Writer { client, leadership }
    }

    /// Writes the condition, if this replica is still the leader.
    pub(super) async fn write(&self, judged: &Judged) -> Outcome {
        let kept = &judged.object.kept;
        match &judged.write {
            Some(_) if !self.leadership.may_write() => Outcome::NotLeading,
            Some(Write::Approve(approval)) => approval::approve(&self.client, approval, kept).await,
            Some(Write::Deny(denial)) => approval::deny(&self.client, denial, kept).await,
            None => Outcome::Written,
        }
    }
}
