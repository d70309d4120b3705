//! Rows 39, 40 and 85: corroboration by the serving certificate that the kubelet presents now.
//!
//! It proves what was approved before for this node. A certificate names its node, regardless of the address at which it is
//! presented. What it does not prove waits: others can answer at the address.

use std::collections::BTreeSet;

use super::{SourceResult, unanswered};
use crate::csr::names::San;
use crate::evidence::{Node, ServingCertificate, Source};
use crate::finding::{Awaited, Code, Question};
use crate::rules::Case;
use crate::rules::kubelets::{Asked, addresses_to_ask};

/// Checks that the certificate has this name.
pub(super) fn check(case: &Case<'_>, node: &Node, san: &San) -> SourceResult {
    check_shown(case, node, |shown| {
        let has = shown.sans.contains(san);
        has.then_some(()).ok_or_else(|| format!("{san} is not in"))
    })
}

/// Checks that the request is for exactly the names of the certificate.
pub(super) fn check_renewal(case: &Case<'_>, node: &Node) -> SourceResult {
    let asked: BTreeSet<&San> = case.sans().iter().collect();
    check_shown(case, node, |shown| {
        let missing = shown.sans.iter().find(|san| !asked.contains(san));
        let more = asked.iter().find(|san| !shown.sans.contains(**san));
        match (more, missing) {
            (None, None) => Ok(()),
            (Some(san), _) => Err(format!("{san} is not in")),
            (None, Some(san)) => Err(format!("the request is not for {san}, which is in")),
        }
    })
}

/// Asks the kubelet in turn at its addresses, until one shows a certificate that proves what is asked
/// for. The error of `prove` is the beginning of a sentence that ends with the certificate.
fn check_shown(
    case: &Case<'_>,
    node: &Node,
    prove: impl Fn(&ServingCertificate) -> Result<(), String>,
) -> SourceResult {
    if case.policy.spec.sources.serving_certificate.is_none() {
        return SourceResult::NotConfigured;
    }
    let find = || addresses_to_ask(case, node);
    let addresses = case.kubelet_addresses.get_or_init(find);
    let certificates = &case.evidence.certificates;
    let mut asked = Asked::default();
    let mut has_answered = false;
    for address in addresses {
        has_answered |= asked.ask(case, std::iter::once(*address));
        if !asked.open.is_empty() {
            let question = Question::Certificate(*address);
            return unanswered(case, Source::ServingCertificates, question);
        }
        if let Some(shown) = asked.certificates.pop() {
            let by = format!("the certificate that the kubelet shows at {address}");
            let proven = if shown.node == node.name {
                prove(shown).map_err(|why| format!("{why} {by}"))
            } else {
                Err(format!("{by} is that of another Node, {}", shown.node))
            };
            // A node that has lost a name keeps its older certificates.
            let newest = certificates.newest(&node.name);
            let is_current = || match newest.filter(|newest| *newest != shown) {
                Some(newest) => prove(newest).map_err(|why| {
                    format!("{why} its latest certificate, valid from {}", newest.issued)
                }),
                None => Ok(()),
            };
            match proven.and_then(|()| is_current()) {
                Ok(()) => return SourceResult::Vouched(by),
                Err(why) => asked.record_reason(why.into()),
            }
        }
    }
    let on_node = Awaited::Node(node.name.shared());
    if addresses.is_empty() {
        let why = format!(
            "Node {} has no address at which its kubelet may be asked for its certificate: reserved, \
             protected, Service and pod addresses are never asked",
            node.name
        );
        return SourceResult::Unproven(Code::SanUncorroborated, vec![on_node], why);
    }
    let code = match has_answered {
        true => Code::SanUncorroborated,
        false => Code::SourceUnready,
    };
    // A failed answer itself would wake the request at once.
    let (again, reasons) = asked.ended();
    let awaits = again.into_iter().chain([on_node]).collect();
    SourceResult::Unproven(code, awaits, reasons)
}
