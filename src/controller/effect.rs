//! Effects: actions that the state requests and the loop performs.

use std::sync::Arc;
use std::time::Duration;

use super::input::InForce;
use super::judged::Judged;
use crate::cluster::approval::Outcome;
use crate::cluster::list::Undecodable;
use judge::evidence::Source;
use judge::finding::Question;
use judge::policy::Policy;

/// An action outside of the state.
#[derive(Debug)]
pub(super) enum Effect {
    /// Report that a source has synced; true if it had not before.
    SourceSynced(Source, bool),
    /// Report the failure of a source, with its sentence; true if the failure is new.
    SourceFailed(Source, String, bool),
    /// Report that the API server does not have the resource of a source and that the policy replaces it; true if
    /// that is new.
    SourceReplaced(Source, bool),
    /// Report an object of a source that cannot be decoded.
    Undecodable(Source, Undecodable),
    /// Report a failed lookup, with its reason; true if the failure is new.
    AnswerFailed(Source, String, bool),
    /// Report that the inventory was reloaded, with its number of nodes.
    InventoryRead(usize),
    /// Report the new policy in force, and publish it to its followers.
    PolicyChanged(InForce),
    /// Report that a policy was rejected, with the reason, and that this one stays in force.
    PolicyRefused(Arc<Policy>, String),
    /// Log and count a judged request.
    Record(Arc<Judged>),
    /// List all requests again: some were dropped, for lack of memory or as stale by a later time of the API
    /// server, and now there is room.
    ListRequests,
    /// Look up the answer to a question that a request of this user depends on, under this policy.
    Ask(Question, Arc<str>, Arc<Policy>),
    /// Write the condition of a judged request.
    Write(Arc<Judged>),
    /// Report the outcome of a write, this long after the request was first seen.
    Ended {
        judged: Arc<Judged>,
        outcome: Outcome,
        after: Duration,
    },
}
