//! The rules, one file for each kind of question, with its rows of `docs/verdicts.md`. Each looks
//! at one case and adds what it finds; none decides.

mod corroboration;
mod encoding;
mod names;
mod object;
mod ownership;
mod protected_sans;
mod readiness;

pub use ownership::SanProof;
pub use readiness::unready;

use std::cell::OnceCell;
use std::net::IpAddr;

use crate::csr::Request;
use crate::csr::names::{NodeName, San};
use crate::evidence::{Evidence, Instants, Node};
use crate::finding::{Awaited, Effect, Findings};
use crate::policy::Policy;

/// One request with all that it is judged by.
pub(crate) struct Case<'a> {
    pub(crate) request: &'a Request,
    pub(crate) policy: &'a Policy,
    pub(crate) evidence: &'a Evidence,
    pub(crate) now: Instants,
    /// The requestor as a node, if its user name is one.
    pub(crate) requestor: Option<NodeName>,
    /// The requestor's Node, if there is one.
    pub(crate) node: Option<&'a Node>,
    /// Where its kubelet is asked for its certificate, once that is looked for.
    pub(crate) kubelet_address: OnceCell<Result<IpAddr, Vec<Awaited>>>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        request: &'a Request,
        policy: &'a Policy,
        evidence: &'a Evidence,
        now: Instants,
    ) -> Case<'a> {
        let requestor = request.object.requestor.node();
        let node = requestor
            .as_ref()
            .and_then(|name| evidence.nodes.get(name.as_str()));
        Case {
            request,
            policy,
            evidence,
            now,
            requestor,
            node,
            kubelet_address: OnceCell::new(),
        }
    }

    fn sans(&self) -> &'a [San] {
        self.request
            .content
            .as_ref()
            .map_or(&[], |content| &content.sans)
    }
}

/// What all rules have found, and what proves each name.
pub(crate) struct Found {
    pub(crate) findings: Findings,
    pub(crate) proofs: Vec<SanProof>,
}

/// Applies all rules. What is not ours to touch is not looked at any further. Evidence is only
/// consulted when all of it is there, for half of it could deny what the whole would allow; but
/// a domain that is known to be the cluster's is so whatever else is not known yet.
pub(crate) fn apply(case: &Case<'_>) -> Found {
    let mut findings = Findings::default();
    let mut proofs = Vec::new();
    object::check(case, &mut findings);
    if findings.effect() != Some(Effect::Ignore) {
        encoding::check(case, &mut findings);
        names::check(case, &mut findings);
        if readiness::sources_ready(case, &mut findings) {
            encoding::check_key_owner(case, &mut findings);
            readiness::check(case, &mut findings);
            protected_sans::check(case, &mut findings);
            proofs = ownership::check(case, &mut findings);
        }
    }
    Found { findings, proofs }
}
