//! Answers of those outside of the cluster, each for as long as it holds.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::csr::names::{NodeName, San};
use crate::finding::Question;

/// Answers that are kept. Each is asked for by a Node, so this is a limit for clusters and not for
/// attackers; beyond it the oldest go.
const MAX_ENTRIES: usize = 65_536;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These names and addresses.
    Sans(BTreeSet<San>),
    /// There is nothing, and why, for a person.
    Empty(String),
    /// It is another node's.
    OtherNode(NodeName),
    /// Nobody could be asked, and why, for a person.
    Failed(String),
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    until: Timestamp,
}

/// All answers.
#[derive(Debug, Default)]
pub struct Answers {
    entries: HashMap<Question, Entry>,
}

impl Answers {
    /// The answer and how long it holds; `None` if the question is to be asked.
    pub fn get(&self, question: &Question, now: Timestamp) -> Option<(&Answer, Timestamp)> {
        let entry = self
            .entries
            .get(question)
            .filter(|entry| entry.until > now)?;
        Some((&entry.answer, entry.until))
    }

    /// Keeps an answer.
    pub(super) fn set(&mut self, question: Question, answer: Answer, until: Timestamp) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&question) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(oldest) = oldest.map(|(question, _)| question.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(question, Entry { answer, until });
    }

    /// Drops what does not hold any more.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| entry.until > now);
    }

    /// Drops all.
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
    fn an_answer_holds_until_its_time() {
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
    fn beyond_the_limit_the_soonest_to_end_goes() {
        let mut answers = Answers::default();
        for index in 0..MAX_ENTRIES {
            answers.set(question(index), nothing(), at(1000 + index));
        }
        // Known already: nobody has to go.
        answers.set(question(7), nothing(), at(999_999));
        assert_eq!(answers.entries.len(), MAX_ENTRIES);
        assert!(answers.get(&question(0), at(1)).is_some());
        answers.set(question(MAX_ENTRIES), nothing(), at(999_999));
        assert_eq!(answers.entries.len(), MAX_ENTRIES);
        assert!(answers.get(&question(0), at(1)).is_none());
        assert!(answers.get(&question(7), at(1)).is_some());
    }
}
