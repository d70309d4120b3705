//! Row 40: what the certificate that the kubelet shows now says of a name.

use std::net::IpAddr;

use super::{Statement, dns, inventory, machines, unanswered};
use crate::csr::names::San;
use crate::evidence::{Answer, Node, Source};
use crate::finding::{Awaited, Code, Findings, Question};
use crate::rules::Case;

pub(super) fn hear(case: &Case<'_>, node: &Node, san: &San, findings: &mut Findings) -> Statement {
    if case.policy.spec.sources.serving_certificate.is_none() {
        return Statement::NotConfigured;
    }
    let address = match case.dialled.get_or_init(|| dialled(case, node)) {
        Ok(address) => *address,
        Err(awaits) => {
            let why = format!(
                "no source vouches for an address at which the kubelet of Node {} could be asked \
                 for its certificate",
                node.name
            );
            return Statement::Silent(Code::SanUncorroborated, awaits.clone(), why);
        }
    };
    let question = Question::Certificate(node.name.shared(), address);
    match case.evidence.answers.get(&question, case.now.steady) {
        Some((Answer::Sans(found), _)) if found.contains(san) => {
            Statement::Vouched(format!("certificate that the kubelet shows at {address}"))
        }
        Some((Answer::Sans(_), until)) => {
            let why =
                format!("{san} is not in the certificate that the kubelet shows at {address}");
            Statement::Silent(Code::SanUncorroborated, vec![Awaited::Time(until)], why)
        }
        Some((Answer::Nothing(why), until)) => Statement::Silent(
            Code::SanUncorroborated,
            vec![Awaited::Time(until)],
            why.clone(),
        ),
        Some((Answer::OfAnother(other), _)) => {
            let why = format!("{address} shows the certificate of Node {other}");
            findings.add(Code::SanContradicted, why);
            Statement::Found
        }
        Some((Answer::Failed(_), _)) | None => {
            unanswered(case, Source::ServingCertificates, question)
        }
    }
}

/// An address of the Node that somebody but the kubelet vouches for: else a kubelet could make us
/// dial where it likes. Without one, what to wait for.
fn dialled(case: &Case<'_>, node: &Node) -> Result<IpAddr, Vec<Awaited>> {
    let mut awaits = vec![Awaited::Node(node.name.shared())];
    for address in &node.addresses {
        let San::Ip(ip) = address.san else { continue };
        for hear in [inventory::hear, machines::hear, dns::hear] {
            // What these find is found where the address itself is asked for.
            let mut unheard = Findings::default();
            match hear(case, node, &address.san, &mut unheard) {
                Statement::Vouched(_) => return Ok(ip),
                Statement::Silent(_, more, _) => awaits.extend(more),
                Statement::NotConfigured => awaits.push(Awaited::Policy),
                Statement::Found => {}
            }
        }
    }
    Err(awaits)
}
