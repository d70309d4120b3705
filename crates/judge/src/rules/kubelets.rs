//! Addresses at which kubelets are asked for their serving certificates, and the answers that are known:
//! for the owner of a contested name, and for proof by a certificate.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::Case;
use crate::csr::names::San;
use crate::evidence::{Answer, Claim, IdentityKind, Node, ServingCertificate, reserved_kind};
use crate::finding::{Awaited, Question};

/// Maximum number of addresses at which one kubelet is asked.
pub(super) const MAX_ADDRESSES: usize = 4;
/// Maximum number of a Node's addresses among which these are searched. No policy lets more of them
/// be claims.
const MAX_SEARCHED: usize = 256;
/// Maximum number of reasons why no certificate was shown, in one finding.
const MAX_REASONS: usize = 4;

/// Questions to kubelets, and the answers that are known.
#[derive(Default)]
pub(super) struct Asked<'a> {
    /// The answers that are not known yet.
    pub(super) open: Vec<Awaited>,
    pub(super) certificates: Vec<&'a ServingCertificate>,
    expiry: Option<Timestamp>,
    reasons: Vec<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    /// Asks the kubelet of a Node. Returns true if it has answered. A certificate of another node is no answer of
    /// this one.
    pub(super) fn ask_node(&mut self, case: &Case<'a>, node: &Node) -> bool {
        let mut has_answered = false;
        for ip in addresses_to_ask(case, node) {
            let known = self.certificates.len();
            let is_answer = self.ask(case, std::iter::once(ip));
            let mut shown = self.certificates.iter().skip(known);
            has_answered |= is_answer && shown.all(|shown| shown.node == node.name);
        }
        has_answered
    }

    /// Asks at these addresses. Returns true if a kubelet has answered at one of them.
    pub(super) fn ask(&mut self, case: &Case<'a>, addresses: impl Iterator<Item = IpAddr>) -> bool {
        let mut has_answered = false;
        for ip in addresses {
            let question = Question::Certificate(ip);
            match case.evidence.answers.get(&question, case.now.monotonic) {
                Some((Answer::Sans(_), _)) | None => {
                    let awaited = Awaited::Answer(question);
                    if !self.open.contains(&awaited) {
                        self.open.push(awaited);
                    }
                }
                Some((answer, until)) => {
                    self.expiry = self.expiry.into_iter().chain([until]).min();
                    has_answered |= !matches!(answer, Answer::Failed(_));
                    match answer {
                        Answer::Certificate(shown) => self.certificates.push(shown),
                        Answer::Empty(why) | Answer::Failed(why) => {
                            self.record_reason(Cow::Borrowed(why));
                        }
                        Answer::Sans(_) => {}
                    }
                }
            }
        }
        has_answered
    }

    /// Records why an answer is of no use.
    pub(super) fn record_reason(&mut self, why: Cow<'a, str>) {
        if !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }

    /// When to ask again, and a few reasons why no certificate was shown.
    pub(super) fn ended(self) -> (Option<Awaited>, String) {
        let reasons: Vec<&str> = self
            .reasons
            .iter()
            .take(MAX_REASONS)
            .map(AsRef::as_ref)
            .collect();
        (self.expiry.map(Awaited::Time), reasons.join("; "))
    }
}

/// The addresses at which a Node's kubelet is asked, in the Node's own order. Those beyond the names that count
/// as claims are left out.
pub(super) fn addresses_to_ask(case: &Case<'_>, node: &Node) -> SmallVec<[IpAddr; MAX_ADDRESSES]> {
    let mut addresses: SmallVec<[IpAddr; MAX_ADDRESSES]> = SmallVec::new();
    for address in node.addresses.iter().take(MAX_SEARCHED) {
        let San::Ip(ip) = address.san else {
            continue;
        };
        let claim = case.evidence.nodes.claim(&address.san, &node.name);
        if !addresses.contains(&ip)
            && claim.is_some_and(|claim| may_be_asked(case, node, claim, ip))
        {
            addresses.push(ip);
        }
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
    }
    addresses
}

/// Returns true if the kubelet of a Node may be asked at this address. It is not reserved, not of Services,
/// not of the API server (unless the Node is of the control plane), and in no pod network that came before
/// the Node's claim.
pub(super) fn may_be_asked(case: &Case<'_>, node: &Node, claim: Claim, ip: IpAddr) -> bool {
    let (evidence, san) = (case.evidence, San::Ip(ip));
    // A control-plane node listens where its API server does. No kubelet can set its label.
    let is_others = |kind| kind == IdentityKind::Service || !node.control_plane;
    let mut identities = evidence.protected.find(&san);
    let mut recent = evidence.protected.find_recent(&san, case.now.monotonic);
    let networks = &case.policy.spec.protected.networks;
    let is_protected = identities.any(|identity| is_others(identity.kind))
        || recent.any(|(identity, _)| is_others(identity.kind))
        || networks.iter().any(|network| network.contains(&ip));
    let mut pod_networks = evidence.nodes.pod_networks(ip);
    let is_of_pods = pod_networks.any(|(_, _, network)| network.precedes(&claim));
    reserved_kind(ip).is_none() && !is_protected && !is_of_pods
}
