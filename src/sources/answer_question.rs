//! Resolution of a judge's question by DNS or by a kubelet's port.

use std::time::Duration;

use super::dns::{Dns, DnsError};
use super::kubelet_ca::KubeletCaError;
use super::serving_certificate::ServingCertificates;
use judge::evidence::Answer;
use judge::finding::Question;
use judge::policy::Policy;

/// Validity of the failure of a source that cannot be set up.
const SETUP_FAILURE_LIFETIME: Duration = Duration::from_secs(10);

/// Resolves a question as the policy requires, and returns for how long the answer is valid. A
/// source that cannot be set up counts as failed.
pub async fn resolve(
    question: &Question,
    policy: &Policy,
    dns: Option<Result<Dns, DnsError>>,
    kubelets: Result<ServingCertificates, KubeletCaError>,
) -> (Answer, Duration) {
    let broken = |why: String| (Answer::Failed(why), SETUP_FAILURE_LIFETIME);
    match (question, dns, kubelets) {
        (Question::Addresses(name), Some(Ok(dns)), _) => dns.addresses(name).await,
        (Question::Names(ip), Some(Ok(dns)), _) => dns.names(*ip).await,
        (Question::Addresses(_) | Question::Names(_), Some(Err(error)), _) => {
            broken(error.to_string())
        }
        (Question::Addresses(_) | Question::Names(_), None, _) => broken("no resolver".into()),
        (Question::Certificate(ip), _, Ok(kubelets)) => {
            let asked = policy.spec.sources.serving_certificate.clone();
            kubelets.read(&asked.unwrap_or_default(), *ip).await
        }
        (Question::Certificate(_), _, Err(error)) => broken(error.to_string()),
    }
}
