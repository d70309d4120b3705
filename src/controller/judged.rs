//! One request's turn: when it was, what was judged, what is to be written.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use judge::csr::Object;
use judge::csr::Uid;
use judge::evidence::Moment;
use judge::finding::{Awaited, Question};
use judge::{Approval, Denial, Judgement, Verdict};

/// The clocks: one for what the API server dates, two that nobody sets for what is dated here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The time of day.
    pub(super) wall: Timestamp,
    /// The time of day when this program began, and what has passed since.
    pub(super) steady: Timestamp,
    /// The monotonic time.
    pub(super) monotonic: Instant,
}

impl Now {
    /// The present.
    pub(super) fn read() -> Now {
        static BEGIN: LazyLock<(Timestamp, Instant)> =
            LazyLock::new(|| (Timestamp::now(), Instant::now()));
        let (begin, begun) = *BEGIN;
        let monotonic = Instant::now();
        let passed = monotonic.saturating_duration_since(begun);
        Now {
            wall: Timestamp::now(),
            steady: begin.checked_add(passed).unwrap_or(begin),
            monotonic,
        }
    }

    /// The steady time at this monotonic time, which has passed.
    pub(super) fn steady_at(self, monotonic: Instant) -> Timestamp {
        let passed = self.monotonic.saturating_duration_since(monotonic);
        self.steady.checked_sub(passed).unwrap_or(self.steady)
    }

    /// How far somebody has set the time of day since the program began.
    pub(super) fn set_by(self) -> SignedDuration {
        self.moment().set_by()
    }

    /// What a judgement needs of it.
    pub(super) fn moment(self) -> Moment {
        Moment {
            wall: self.wall,
            steady: self.steady,
        }
    }
}

/// What is to be written, by the only types that can be.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// The condition Approved.
    Approve(Approval),
    /// The condition Denied.
    Deny(Denial),
}

/// One request that has had its turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// The request's UID.
    pub(super) uid: Uid,
    /// The request.
    pub(super) object: Arc<Object>,
    /// What was judged.
    pub(super) judgement: Judgement,
    /// When the request was first seen.
    pub(super) seen: Instant,
    /// Whether this was not said of the request before.
    pub(super) is_news: bool,
    /// What is to be written about it.
    pub(super) write: Option<Write>,
}

impl Turn {
    /// What others have to be asked before it can be judged again.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        let awaits = match &self.judgement.verdict {
            Verdict::Wait(awaits) => awaits.as_slice(),
            Verdict::Approve(_) | Verdict::Deny(_) | Verdict::Ignore => &[],
        };
        awaits.iter().filter_map(|awaited| match awaited {
            Awaited::Answer(question) => Some(question),
            Awaited::Node(_)
            | Awaited::Machine(_)
            | Awaited::Source(_)
            | Awaited::Time(_)
            | Awaited::Policy => None,
        })
    }
}
