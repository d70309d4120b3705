//! Effects of the state: what the loop is to do because of an input, a verdict or an outcome.

use std::sync::Arc;
use std::time::Duration;

use super::input::InForce;
use super::judged::Judged;
use crate::cluster::approval::Outcome;
use judge::evidence::Source;
use judge::finding::Question;
use judge::policy::Policy;

/// Something that is to be done outside of the state.
#[derive(Debug)]
pub(super) enum Effect {
    /// Tell that a source is complete, and whether that is news.
    SourceSynced(Source, bool),
    /// Tell in this sentence that a source fails, and whether that is news.
    SourceFailed(Source, String, bool),
    /// Tell why somebody could not be asked, and whether that is news.
    AnswerFailed(Source, String, bool),
    /// Tell that the inventory has been read, with so many nodes.
    InventoryRead(usize),
    /// Tell that another policy is in force, those too that follow it.
    PolicyChanged(InForce),
    /// Tell that a policy cannot be used and why, and that this one stays.
    PolicyRefused(Arc<Policy>, String),
    /// Tell what was judged.
    Tell(Arc<Judged>),
    /// Ask this, as the policy wants it.
    Ask(Question, Arc<Policy>),
    /// Write what was judged.
    Write(Arc<Judged>),
    /// Tell how a write has ended, this long after the request was first seen.
    Ended {
        judged: Arc<Judged>,
        outcome: Outcome,
        after: Duration,
    },
}
