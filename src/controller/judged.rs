//! A judged request: what was judged, by which policy, and what is to be written.

use std::sync::Arc;

use tokio::time::Instant;

use judge::csr::{Object, Uid};
use judge::finding::{Awaited, Question};
use judge::policy::{Enforcement, Policy};
use judge::{Approval, Denial, Judgement, Verdict};

/// What is to be written, by the only types that can be.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// The condition Approved.
    Approve(Approval),
    /// The condition Denied.
    Deny(Denial),
}

/// One request that has been judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// The request's UID.
    pub(super) uid: Uid,
    /// The request.
    pub(super) object: Arc<Object>,
    /// What was found.
    pub(super) judgement: Judgement,
    /// By which policy.
    pub(super) policy: Arc<Policy>,
    /// What was to be written of a verdict then.
    pub(super) enforcement: Enforcement,
    /// When the request was first seen.
    pub(super) seen: Instant,
    /// Whether this was not said of the request before.
    pub(super) is_news: bool,
    /// What is to be written about it.
    pub(super) write: Option<Write>,
}

impl Judged {
    /// What others have to be asked before it can be judged again.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        let awaits = match &self.judgement.verdict {
            Verdict::Wait(awaits) => awaits.as_slice(),
            Verdict::Approve(_) | Verdict::Deny(_) | Verdict::Ignore => &[],
        };
        awaits.iter().filter_map(Awaited::question)
    }
}
