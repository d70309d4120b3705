//! Answers of those outside of the cluster, each for as long as it holds.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::csr::names::{NodeName, San};
use crate::finding::Question;

/// Answers that are kept. Each is asked for by a Node, so this is a limit for clusters and not for
/// attackers; beyond it the oldest go.
const MOST: usize = 65_536;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These names and addresses.
    Sans(BTreeSet<San>),
    /// There is nothing, and why, for a person.
    Nothing(String),
    /// It is another node's.
    OfAnother(NodeName),
    /// Nobody could be asked, and why, for a person.
    Failed(String),
}

#[derive(Clone, Debug)]
struct Kept {
    answer: Answer,
    until: Timestamp,
}

/// All answers.
#[derive(Debug, Default)]
pub struct Answers {
    kept: HashMap<Question, Kept>,
}

impl Answers {
    /// The answer and how long it holds; `None` if the question is to be asked.
    pub fn get(&self, question: &Question, now: Timestamp) -> Option<(&Answer, Timestamp)> {
        let kept = self.kept.get(question).filter(|kept| kept.until > now)?;
        Some((&kept.answer, kept.until))
    }

    /// Keeps an answer.
    pub fn set(&mut self, question: Question, answer: Answer, until: Timestamp) {
        if self.kept.len() >= MOST && !self.kept.contains_key(&question) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.until);
            if let Some(oldest) = oldest.map(|(question, _)| question.clone()) {
                self.kept.remove(&oldest);
            }
        }
        self.kept.insert(question, Kept { answer, until });
    }

    /// Drops what does not hold any more.
    pub fn prune(&mut self, now: Timestamp) {
        self.kept.retain(|_, kept| kept.until > now);
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.kept.clear();
    }
}
