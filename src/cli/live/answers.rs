//! Lookups outside of the API server (DNS, kubelets), repeated until no verdict waits for another.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::{Look, Lookout};
use crate::sources::answer_question::resolve;
use crate::sources::dns::{Dns, DnsError};
use crate::sources::serving_certificate::ServingCertificates;
use judge::Verdict;
use judge::csr::Request;
use judge::evidence::{Answer, Fact};
use judge::finding::{Awaited, Question};

/// Maximum number of concurrent lookups.
const AT_ONCE: usize = 32;
/// Maximum rounds of lookups. An answer can lead to new ones: from a name to addresses, back, and
/// to a kubelet.
const ROUNDS: usize = 8;
/// Time limit for all lookups together.
const DEADLINE: Duration = Duration::from_secs(60);

impl Look {
    /// Runs the lookups that verdicts on these requests wait for. A lookup without an answer in
    /// time stays open, and its verdict waits.
    pub(in crate::cli) async fn ask(&mut self, lookout: &Lookout, requests: &[Request]) {
        // On timeout, the verdict names the lookups without an answer.
        let _ = timeout(DEADLINE, self.ask_all(lookout, requests)).await;
    }

    async fn ask_all(&mut self, lookout: &Lookout, requests: &[Request]) {
        let policy = &lookout.policy;
        let mut known: HashSet<Question> = HashSet::new();
        let mut dns: Option<Result<Dns, DnsError>> = None;
        let clock = &lookout.connection.clock;
        let authorities = lookout.authorities.iter().map(Vec::as_slice);
        let kubelets = ServingCertificates::new(authorities, clock);
        for _ in 0..ROUNDS {
            let mut open: BTreeSet<Question> = BTreeSet::new();
            for request in requests {
                if let Verdict::Wait(awaits) = self.judge(request, policy).verdict {
                    open.extend(awaits.iter().filter_map(Awaited::question).cloned());
                }
            }
            open.retain(|question| known.insert(question.clone()));
            if open.is_empty() {
                return;
            }
            let resolver = dns.get_or_insert_with(|| {
                let config = policy.spec.sources.dns.clone().unwrap_or_default();
                Dns::new(&config)
            });
            let answers = futures::stream::iter(open).map(|question| {
                let (resolver, kubelets) = (resolver.clone(), kubelets.clone());
                async move {
                    let answered = resolve(&question, policy, Some(resolver), kubelets).await;
                    (question, answered)
                }
            });
            let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
            let now = clock.wall();
            for (question, (answer, holds)) in answers {
                self.answered(question, answer, holds, now);
            }
        }
    }

    fn answered(&mut self, question: Question, answer: Answer, holds: Duration, now: Timestamp) {
        let source = question.source();
        if let Answer::Failed(why) = &answer {
            let failed = Fact::Failed(source, why.clone());
            self.evidence.apply(failed, self.now);
        } else if !self.evidence.sources().is_known(source) {
            self.evidence.apply(Fact::Synced(source), self.now);
        }
        let holds = SignedDuration::try_from(holds).unwrap_or_default();
        let until = now.checked_add(holds).unwrap_or(now);
        let fact = Fact::Answer(question, answer, until);
        self.answers.push((fact.clone(), now));
        self.evidence.apply(fact, now);
    }
}
