//! A judged request: its judgment, the policy, and the condition to write.

use std::sync::Arc;

use tokio::time::Instant;

use judge::csr::{CsrObject, Fingerprint, Uid};
use judge::finding::{Awaited, Question};
use judge::policy::{Enforcement, Policy};
use judge::{Approval, Denial, Judgment, Verdict};

/// The condition to write. Only the judge can make its contents.
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
    pub(super) object: Arc<CsrObject>,
    /// Fingerprint of the requested key; `None` if the request could not be decoded.
    pub(super) key: Option<Fingerprint>,
    /// The judgment.
    pub(super) judgment: Judgment,
    /// The policy that it was judged by.
    pub(super) policy: Arc<Policy>,
    /// The enforcement at that time.
    pub(super) enforcement: Enforcement,
    /// Time at which the request was first seen.
    pub(super) seen: Instant,
    /// True if the verdict or its codes differ from the last ones of this request.
    pub(super) is_news: bool,
    /// The condition to write, if any.
    pub(super) write: Option<Write>,
}

impl Judged {
    /// Questions to be answered before it can be judged again.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        let awaits = match &self.judgment.verdict {
            Verdict::Wait(awaits) => awaits.as_slice(),
            Verdict::Approve(_) | Verdict::Deny(_) | Verdict::Ignore => &[],
        };
        awaits.iter().filter_map(Awaited::question)
    }
}
