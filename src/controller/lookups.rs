//! Lookups in DNS and at kubelets' ports: bounded, fair to requestors, and never two of the same at a
//! time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::input::{Answered, Input, Inputs};
use crate::cluster::clock::Clock;
use crate::sources::answer_question::resolve;
use crate::sources::dns::{Dns, DnsError};
use crate::sources::serving_certificate::ServingCertificates;
use judge::finding::Question;
use judge::policy::Policy;

/// Limit of questions on the way to the queue. A request whose question is dropped asks again when it
/// is next judged.
const ON_THE_WAY: usize = 1024;
/// Limit of queued questions of one requestor: more than one request has.
const QUEUED_PER_REQUESTOR: usize = 64;
/// Limit of requestors with queued questions.
const REQUESTORS: usize = 16_384;
/// Limit of concurrent lookups of one requestor. Addresses that never answer cost no other one a turn.
const AT_ONCE_PER_REQUESTOR: usize = 4;
/// Limit of concurrent lookups.
const AT_ONCE: usize = 64;

/// A question, the user whose request depends on the answer, and the policy.
type Asked = (Question, Arc<str>, Arc<Policy>);

/// Sender of questions.
#[derive(Debug)]
pub(super) struct Lookups(mpsc::Sender<Asked>);

impl Lookups {
    /// Starts the lookups; `authorities` are the CA certificates of kubelets, in DER.
    pub(super) fn start(authorities: Vec<Vec<u8>>, clock: Clock, inputs: Inputs) -> Lookups {
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        tokio::spawn(ask_all(authorities, receiver, clock, inputs));
        Lookups(sender)
    }

    /// Queues a question, or drops it if the queue is full.
    pub(super) fn ask(&self, question: Question, requestor: Arc<str>, policy: &Arc<Policy>) {
        if self
            .0
            .try_send((question, requestor, policy.clone()))
            .is_err()
        {
            tracing::debug!("too many questions at once");
        }
    }
}

/// Questions that wait for their turn, one requestor after the other.
#[derive(Debug, Default)]
struct Turns {
    queued: BTreeMap<Arc<str>, VecDeque<(Question, Arc<Policy>)>>,
    /// Number of running lookups of each requestor.
    running: BTreeMap<Arc<str>, usize>,
    /// The requestor that had the last turn.
    last: Option<Arc<str>>,
}

impl Turns {
    fn push(&mut self, (question, requestor, policy): Asked) {
        if self.queued.len() >= REQUESTORS && !self.queued.contains_key(&requestor) {
            return;
        }
        let queued = self.queued.entry(requestor).or_default();
        let is_known = queued
            .iter()
            .any(|(known, by)| *known == question && by.digest == policy.digest);
        if queued.len() < QUEUED_PER_REQUESTOR && !is_known {
            queued.push_back((question, policy));
        }
    }

    /// The next question: of the next requestor that has one and may ask.
    fn next(&mut self) -> Option<Asked> {
        let may_ask = |requestor: &Arc<str>| {
            let running = self.running.get(requestor);
            running.is_none_or(|running| *running < AT_ONCE_PER_REQUESTOR)
        };
        let after = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.queued.range((after, Bound::Unbounded));
        let all = behind.chain(&self.queued).map(|(requestor, _)| requestor);
        let requestor = all
            .into_iter()
            .find(|requestor| may_ask(requestor))?
            .clone();
        let queued = self.queued.get_mut(&requestor)?;
        let (question, policy) = queued.pop_front()?;
        if queued.is_empty() {
            self.queued.remove(&requestor);
        }
        *self.running.entry(requestor.clone()).or_default() += 1;
        self.last = Some(requestor.clone());
        Some((question, requestor, policy))
    }

    fn end(&mut self, requestor: &Arc<str>) {
        if let Some(running) = self.running.get_mut(requestor) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(requestor);
            }
        }
    }
}

async fn ask_all(
    authorities: Vec<Vec<u8>>,
    mut questions: mpsc::Receiver<Asked>,
    clock: Clock,
    inputs: Inputs,
) {
    let kubelets = ServingCertificates::new(authorities.iter().map(Vec::as_slice), &clock);
    let mut dns: Option<(Arc<Policy>, Result<Dns, DnsError>)> = None;
    let mut open: HashSet<(Question, String)> = HashSet::new();
    let mut asking: JoinSet<(Answered, Arc<str>)> = JoinSet::new();
    let mut turns = Turns::default();
    loop {
        let next = if asking.len() < AT_ONCE {
            turns.next()
        } else {
            None
        };
        let Some((question, requestor, policy)) = next else {
            tokio::select! {
                biased;
                Some(Ok((answered, requestor))) = asking.join_next() => {
                    turns.end(&requestor);
                    open.remove(&(answered.question.clone(), answered.asked_by.digest.clone()));
                    if inputs.send(Input::Answered(Box::new(answered))).await.is_err() {
                        return;
                    }
                }
                asked = questions.recv() => match asked {
                    Some(asked) => turns.push(asked),
                    None => return,
                },
            }
            continue;
        };
        if !open.insert((question.clone(), policy.digest.clone())) {
            turns.end(&requestor);
            continue;
        }
        let is_same = |(of, _): &(Arc<Policy>, _)| of.spec.sources.dns == policy.spec.sources.dns;
        if !dns.as_ref().is_some_and(is_same) {
            let config = policy.spec.sources.dns.clone().unwrap_or_default();
            dns = Some((policy.clone(), Dns::new(&config)));
        }
        let resolver = dns.as_ref().map(|(_, dns)| dns.clone());
        let (kubelets, clock) = (kubelets.clone(), clock.clone());
        asking.spawn(async move {
            let (answer, holds) = resolve(&question, &policy, resolver, kubelets).await;
            let holds = SignedDuration::try_from(holds).unwrap_or_default();
            let now = clock.now().monotonic;
            let answered = Answered {
                question,
                answer,
                until: now.checked_add(holds).unwrap_or(now),
                asked_by: policy,
            };
            (answered, requestor)
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(requestor: &str, name: &str, policy: &Arc<Policy>) -> Asked {
        (
            Question::Addresses(name.into()),
            requestor.into(),
            policy.clone(),
        )
    }

    #[test]
    fn requestors_take_turns_and_hold_few_lookups() {
        let policy = Arc::new(judge::policy::default_policy().unwrap());
        let mut turns = Turns::default();
        for index in 0..100 {
            turns.push(asked("a", &format!("name-{index}"), &policy));
            turns.push(asked("a", "name-0", &policy));
        }
        assert_eq!(turns.queued.get("a").unwrap().len(), QUEUED_PER_REQUESTOR);
        turns.push(asked("b", "name", &policy));
        let of = |next: Option<Asked>| next.map(|(_, requestor, _)| requestor.to_string());
        let order: Vec<_> = (0..6).map(|_| of(turns.next())).collect();
        let expected = ["a", "b", "a", "a", "a"].map(|name| Some(name.to_owned()));
        assert_eq!(order.get(..5).unwrap(), expected);
        assert_eq!(order.get(5).unwrap(), &None);
        turns.push(asked("c", "name", &policy));
        assert_eq!(of(turns.next()), Some("c".to_owned()));
        turns.end(&"a".into());
        assert_eq!(of(turns.next()), Some("a".to_owned()));
    }
}
