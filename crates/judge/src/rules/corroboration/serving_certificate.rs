//! Row 40: corroboration by the serving certificate that the kubelet presents now.

use std::net::IpAddr;

use super::{SourceResult, dns, inventory, machines, unanswered};
use crate::csr::names::San;
use crate::evidence::{Answer, Node, Source};
use crate::finding::{Awaited, Code, Findings, Question};
use crate::rules::Case;

pub(super) fn check(case: &Case<'_>, node: &Node, san: &San) -> SourceResult {
    if case.policy.spec.sources.serving_certificate.is_none() {
        return SourceResult::NotConfigured;
    }
    let address = match case
        .kubelet_address
        .get_or_init(|| kubelet_address(case, node))
    {
        Ok(address) => *address,
        Err(awaits) => {
            let why = format!(
                "no source vouches for an address at which the kubelet of Node {} could be asked \
                 for its certificate",
                node.name
            );
            return SourceResult::Unproven(Code::SanUncorroborated, awaits.clone(), why);
        }
    };
    let question = Question::Certificate(address);
    match case.evidence.answers.get(&question, case.now.monotonic) {
        Some((Answer::Certificate(shown), until)) => {
            let why = if shown.node != node.name {
                // Whoever holds the address shows it, which proves nothing about this node.
                format!("{address} shows the certificate of Node {}", shown.node)
            } else if shown.sans.contains(san) {
                let by = format!("certificate that the kubelet shows at {address}");
                return SourceResult::Vouched(by);
            } else {
                format!("{san} is not in the certificate that the kubelet shows at {address}")
            };
            SourceResult::Unproven(Code::SanUncorroborated, vec![Awaited::Time(until)], why)
        }
        Some((Answer::Empty(why), until)) => SourceResult::Unproven(
            Code::SanUncorroborated,
            vec![Awaited::Time(until)],
            why.clone(),
        ),
        Some((Answer::Sans(_) | Answer::Failed(_), _)) | None => {
            unanswered(case, Source::ServingCertificates, question)
        }
    }
}

/// An address of the Node that another source vouches for. Otherwise a kubelet could make csr-warden
/// connect to any address. The error lists the events to wait for.
fn kubelet_address(case: &Case<'_>, node: &Node) -> Result<IpAddr, Vec<Awaited>> {
    let mut awaits = vec![Awaited::Node(node.name.shared())];
    for address in &node.addresses {
        let San::Ip(ip) = address.san else { continue };
        for check in [inventory::check, machines::check, dns::check] {
            // The same findings are added when the address itself is checked.
            let mut discarded = Findings::default();
            match check(case, node, &address.san, &mut discarded) {
                SourceResult::Vouched(_) => return Ok(ip),
                SourceResult::Unproven(_, more, _) => awaits.extend(more),
                SourceResult::NotConfigured => awaits.push(Awaited::Policy),
                SourceResult::Contradicted => {}
            }
        }
    }
    Err(awaits)
}
