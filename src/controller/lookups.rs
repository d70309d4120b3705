//! Lookups in DNS and at kubelets' ports: bounded, and never two of the same at a time.

use std::collections::HashSet;
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

/// Limit of queued questions. A request whose question is dropped asks again when it is next judged.
const WAITING: usize = 4096;
/// Limit of concurrent lookups.
const AT_ONCE: usize = 32;

/// Sender of questions.
#[derive(Debug)]
pub(super) struct Lookups(mpsc::Sender<(Question, Arc<Policy>)>);

impl Lookups {
    /// Starts the lookups; `authorities` are the CA certificates of kubelets, in DER.
    pub(super) fn start(authorities: Vec<Vec<u8>>, clock: Clock, inputs: Inputs) -> Lookups {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(ask_all(authorities, receiver, clock, inputs));
        Lookups(sender)
    }

    /// Queues a question, or drops it if the queue is full.
    pub(super) fn ask(&self, question: Question, policy: &Arc<Policy>) {
        if self.0.try_send((question, policy.clone())).is_err() {
            tracing::debug!("too many questions at once");
        }
    }
}

async fn ask_all(
    authorities: Vec<Vec<u8>>,
    mut questions: mpsc::Receiver<(Question, Arc<Policy>)>,
    clock: Clock,
    inputs: Inputs,
) {
    let kubelets = ServingCertificates::new(authorities.iter().map(Vec::as_slice));
    let mut dns: Option<(Arc<Policy>, Result<Dns, DnsError>)> = None;
    let mut open: HashSet<(Question, String)> = HashSet::new();
    let mut asking: JoinSet<Answered> = JoinSet::new();
    loop {
        let next = tokio::select! {
            Some(Ok(answered)) = asking.join_next() => {
                open.remove(&(answered.question.clone(), answered.asked_by.digest.clone()));
                if inputs.send(Input::Answered(Box::new(answered))).await.is_err() {
                    return;
                }
                continue;
            }
            next = questions.recv(), if asking.len() < AT_ONCE => next,
        };
        let Some((question, policy)) = next else {
            return;
        };
        if !open.insert((question.clone(), policy.digest.clone())) {
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
            Answered {
                question,
                answer,
                until: now.checked_add(holds).unwrap_or(now),
                asked_by: policy,
            }
        });
    }
}
