//! Cache of answers from DNS servers and kubelets, each with its expiry.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::ServingCertificate;
use crate::csr::names::San;
use crate::finding::Question;

/// Maximum number of answers; those that expire first are dropped. Every question comes from a Node,
/// so the size of the cluster limits them, not an attacker.
const MAX_ENTRIES: usize = 65_536;

/// The result of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Names and addresses.
    Sans(BTreeSet<San>),
    /// The source has no names or addresses, with the reason for a person.
    Empty(String),
    /// The certificate that a kubelet presents.
    Certificate(Box<ServingCertificate>),
    /// The source could not be asked, with the reason for a person.
    Failed(String),
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    until: Timestamp,
}

/// The answers by their questions.
#[derive(Debug, Default)]
pub struct Answers {
    entries: HashMap<Question, Entry>,
}

impl Answers {
    /// The answer and its expiry, in monotonic time; `None` if the question must be asked.
    pub fn get(&self, question: &Question, now: Timestamp) -> Option<(&Answer, Timestamp)> {
        let entry = self
            .entries
            .get(question)
            .filter(|entry| entry.until > now)?;
        Some((&entry.answer, entry.until))
    }

    /// Stores an answer until it expires.
    pub(super) fn set(&mut self, question: Question, answer: Answer, until: Timestamp) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&question) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(oldest) = oldest.map(|(question, _)| question.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(question, Entry { answer, until });
    }

    /// Drops expired answers.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| entry.until > now);
    }

    /// Drops all answers.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    fn question(index: usize) -> Question {
        Question::Addresses(format!("node-{index}").into())
    }

    fn nothing() -> Answer {
        Answer::Empty("no such name".into())
    }

    #[test]
    fn an_answer_is_valid_until_it_expires() {
        let mut answers = Answers::default();
        answers.set(question(1), nothing(), at(10));
        answers.set(question(2), nothing(), at(11));
        assert_eq!(answers.get(&question(1), at(9)), Some((&nothing(), at(10))));
        assert_eq!(answers.get(&question(1), at(10)), None);
        answers.prune(at(10));
        assert_eq!(answers.entries.len(), 1);
        assert!(answers.get(&question(2), at(10)).is_some());
        answers.clear();
        assert_eq!(answers.get(&question(2), at(10)), None);
    }

    #[test]
    fn beyond_the_limit_the_first_to_expire_is_dropped() {
        let mut answers = Answers::default();
        for index in 0..MAX_ENTRIES {
            answers.set(question(index), nothing(), at(1000 + index));
        }
        // A known question displaces no other.
        answers.set(question(7), nothing(), at(999_999));
        assert_eq!(answers.entries.len(), MAX_ENTRIES);
        assert!(answers.get(&question(0), at(1)).is_some());
        answers.set(question(MAX_ENTRIES), nothing(), at(999_999));
        assert_eq!(answers.entries.len(), MAX_ENTRIES);
        assert!(answers.get(&question(0), at(1)).is_none());
        assert!(answers.get(&question(7), at(1)).is_some());
    }
}
