//! The rules, one file for each topic, with its rows of `docs/verdicts.md`. A rule adds findings about
//! one case. It does not decide.

mod claims;
mod corroboration;
mod encoding;
mod kubelets;
mod names;
mod object;
mod own_identities;
mod ownership;
mod protected_sans;
mod readiness;
mod service_names;

pub use ownership::SanProof;
pub use readiness::unready;

use std::cell::OnceCell;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::csr::Request;
use crate::csr::names::{NodeName, San};
use crate::evidence::{Evidence, Instants, Node};
use crate::finding::{Effect, Findings};
use crate::policy::Policy;

/// The input of the rules: one request, and everything that it is judged by.
pub(crate) struct Case<'a> {
    pub(crate) request: &'a Request,
    pub(crate) policy: &'a Policy,
    pub(crate) evidence: &'a Evidence,
    pub(crate) now: Instants,
    /// The requesting Node's name; `None` if the requestor is not a node.
    pub(crate) requestor: Option<NodeName>,
    /// The requesting Node; `None` if it does not exist.
    pub(crate) node: Option<&'a Node>,
    /// The addresses at which its kubelet is asked for its certificate, found on first use.
    pub(crate) kubelet_addresses: OnceCell<SmallVec<[IpAddr; kubelets::MAX_ADDRESSES]>>,
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
            kubelet_addresses: OnceCell::new(),
        }
    }

    /// The same request, as if this Node had sent it.
    fn as_asked_by(&self, node: &'a Node) -> Case<'a> {
        Case {
            requestor: Some(node.name.clone()),
            node: Some(node),
            kubelet_addresses: OnceCell::new(),
            ..*self
        }
    }

    /// The other Node whose name the SAN is.
    fn other_named(&self, node: &Node, san: &San) -> Option<&'a Node> {
        let named = self.evidence.nodes.with_own_name(san);
        named.filter(|other| other.name != node.name)
    }

    fn sans(&self) -> &'a [San] {
        self.request
            .content
            .as_ref()
            .map_or(&[], |content| &content.sans)
    }
}

/// The result of all rules.
pub(crate) struct Found {
    pub(crate) findings: Findings,
    pub(crate) proofs: Vec<SanProof>,
}

/// Applies all rules, and stops at `Ignore`. Rules that depend on evidence run only if all sources
/// are ready, because incomplete evidence could deny what complete evidence allows. The exception
/// is a known domain of the cluster, which stays one.
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
            service_names::check(case, &mut findings);
            proofs = ownership::check(case, &mut findings);
            if findings.is_empty() {
                claims::check(case, &mut findings);
            }
        }
    }
    Found { findings, proofs }
}
