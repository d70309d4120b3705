//! Limit of concurrent writes: halved when the API server is overloaded, raised by one again while it
//! answers (additive increase, multiplicative decrease).

use crate::cluster::approval::Outcome;

/// The limit in force. At most the configured one, at least one.
#[derive(Debug)]
pub(super) struct WriteLimit {
    most: usize,
    current: usize,
    /// Answers since the limit has changed.
    answered: usize,
    /// Number of times that it was halved.
    halvings: Halvings,
}

/// The number of halvings at the start of a write. All writes that run at a time fail together, and
/// that is one overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halvings(u64);

impl WriteLimit {
    /// The configured limit.
    pub(super) fn new(most: usize) -> WriteLimit {
        let most = most.max(1);
        WriteLimit {
            most,
            current: most,
            answered: 0,
            halvings: Halvings(0),
        }
    }

    /// The limit in force.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Marks a write that starts now.
    pub(super) fn halvings(&self) -> Halvings {
        self.halvings
    }

    /// Applies the outcome of a write that started at this mark.
    pub(super) fn ended(&mut self, started: Halvings, outcome: &Outcome) {
        match outcome {
            // 429, a timeout, or a server that cannot answer.
            Outcome::Failed { .. } => {
                if started == self.halvings {
                    self.current = (self.current / 2).max(1);
                    self.answered = 0;
                    self.halvings = Halvings(self.halvings.0 + 1);
                }
            }
            Outcome::Written | Outcome::Changed(_) | Outcome::Gone(_) | Outcome::Forbidden(_) => {
                self.answered += 1;
                if self.answered >= self.current {
                    self.current = (self.current + 1).min(self.most);
                    self.answered = 0;
                }
            }
            // Nothing was sent.
            Outcome::NotLeading => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed {
            why: "the API server answered 429".into(),
            retry_after: None,
        }
    }

    #[test]
    fn writes_that_fail_together_halve_it_once() {
        let mut limit = WriteLimit::new(8);
        let started = limit.halvings();
        for _ in 0..8 {
            limit.ended(started, &failed());
        }
        assert_eq!(limit.current(), 4);
        for expected in [2, 1, 1] {
            limit.ended(limit.halvings(), &failed());
            assert_eq!(limit.current(), expected);
        }
    }

    #[test]
    fn answers_raise_it_by_one_for_each_round() {
        let mut limit = WriteLimit::new(4);
        for _ in 0..2 {
            limit.ended(limit.halvings(), &failed());
        }
        let mut seen = Vec::new();
        for _ in 0..8 {
            limit.ended(limit.halvings(), &Outcome::Written);
            seen.push(limit.current());
        }
        assert_eq!(seen, [2, 2, 3, 3, 3, 4, 4, 4]);
        limit.ended(limit.halvings(), &Outcome::NotLeading);
        assert_eq!(limit.current(), 4);
    }

    #[test]
    fn one_write_is_always_allowed() {
        assert_eq!(WriteLimit::new(0).current(), 1);
    }
}
