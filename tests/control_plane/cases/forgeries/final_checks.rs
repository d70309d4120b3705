//! Checks after all forgeries: none has an effect on the requests and certificates of others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use judge::finding::{Code, Effect};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use super::{FLOOD, ForgeryTest, request_name};
use crate::cases::forgery::{Expect, Forgery};
use crate::cases::issued_certificates::Served;
use control_plane::decision_log;
use control_plane::node_user::{condition, has_no_conditions};

impl ForgeryTest<'_> {
    /// Checks that every rejected request is still rejected at the end.
    pub async fn nothing_changed_since(&self, table: &[Forgery]) -> Result<()> {
        let api: Api<CertificateSigningRequest> = Api::all(self.admin.clone());
        let all = api.list(&ListParams::default()).await?.items;
        let all: BTreeMap<String, CertificateSigningRequest> = all
            .into_iter()
            .filter_map(|request| Some((request.metadata.name.clone()?, request)))
            .collect();
        for (index, forgery) in table.iter().enumerate() {
            let name = request_name(index);
            let stored = all.get(&name);
            match &forgery.expect {
                Expect::Refused(_) => ensure!(stored.is_none(), "{name} is stored"),
                Expect::Denied(codes) => is_denied(stored.context(name)?, codes)?,
                Expect::Waits(_) | Expect::Ignored(_) | Expect::Unseen => {
                    let stored = stored.with_context(|| name.clone())?;
                    ensure!(has_no_conditions(stored), "{name}: {:?}", stored.status);
                }
            }
        }
        for index in 0..FLOOD {
            let name = format!("flood-{index}");
            let flood = all.get(&name).with_context(|| name.clone())?;
            let refused = condition(flood, "Denied").is_some() || has_no_conditions(flood);
            ensure!(
                refused && condition(flood, "Approved").is_none(),
                "{name}: {:?}",
                flood.status
            );
        }
        Ok(())
    }

    pub fn only_forgeries_were_refused(&self) -> Result<()> {
        for decision in decision_log::all(self.daemon.stdout()) {
            let name = decision.request.as_str();
            let is_forged = name.starts_with("forged-") || name.starts_with("flood-");
            let wrong = if is_forged { "Approve" } else { "Deny" };
            ensure!(decision.verdict != wrong, "{decision:?}");
        }
        Ok(())
    }

    /// Returns the permitted names of each node: those in its Node for the fleet, and the original
    /// ones for other nodes.
    pub async fn served(&self) -> Result<BTreeMap<String, Served>> {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let nodes = nodes.list(&ListParams::default()).await?.items;
        let mut served = BTreeMap::new();
        for node in nodes {
            let name = node.metadata.name.clone().context("name")?;
            let addresses = node.status.and_then(|status| status.addresses);
            let addresses = addresses.unwrap_or_default().into_iter().map(|a| a.address);
            let may_have: BTreeSet<String> = if name.starts_with("genuine-") {
                addresses.collect()
            } else {
                // Its own name and address are the first two.
                addresses.take(2).collect()
            };
            served.insert(format!("system:node:{name}"), Served { may_have });
        }
        Ok(served)
    }
}

/// Checks that the request is denied with the first of these codes that denies, and has no certificate.
pub fn is_denied(request: &CertificateSigningRequest, codes: &[String]) -> Result<()> {
    let name = &request.metadata.name;
    let denied = condition(request, "Denied").with_context(|| format!("{name:?}: not denied"))?;
    let denies = |code: &&Code| code.effect() == Effect::Deny;
    let known = codes
        .iter()
        .map(|text| Code::ALL.iter().find(|code| code.as_str() == text));
    let known: Vec<&Code> = known.collect::<Option<_>>().context("an unknown code")?;
    let first = known.into_iter().find(denies).map(|code| code.as_str());
    ensure!(
        denied.reason.as_deref() == first,
        "{name:?}: reason {:?}",
        denied.reason
    );
    let message = denied.message.as_deref().unwrap_or_default();
    ensure!(
        message.starts_with("csr-warden, policy default ("),
        "{name:?}: {message}"
    );
    let status = request.status.as_ref().context("status")?;
    ensure!(status.certificate.is_none(), "{name:?} has a certificate");
    ensure!(
        condition(request, "Approved").is_none(),
        "{name:?} is approved"
    );
    Ok(())
}
