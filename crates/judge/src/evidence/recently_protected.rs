//! Identities that were protected recently. An API server that restarts is missing from its
//! EndpointSlice for a while. A certificate for its address that is issued in that time would
//! impersonate the API server for a year.

use std::collections::VecDeque;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::identity::{Identity, IdentityKind, ServedCertificate};
use crate::csr::names::San;

/// Time for which an identity stays reserved after its protection ended: longer than the usual
/// maintenance of a machine.
const RETENTION: SignedDuration = SignedDuration::from_hours(1);
/// Maximum number of entries; the oldest are dropped first. Only the control plane creates them.
const MAX_ENTRIES: usize = 4096;

/// A SAN or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProtectedObject {
    San(San),
    Network(IpNet),
}

impl ProtectedObject {
    fn covers(&self, san: &San) -> bool {
        match (self, san) {
            (ProtectedObject::San(own), san) => own == san,
            (ProtectedObject::Network(network), San::Ip(ip)) => network.contains(ip),
            (ProtectedObject::Network(_), San::Dns(_)) => false,
        }
    }
}

#[derive(Debug)]
struct Entry {
    object: ProtectedObject,
    identity: Identity,
    until: Timestamp,
}

/// Recently protected identities, in the order in which their protection ended.
#[derive(Debug, Default)]
pub(super) struct RecentlyProtected {
    entries: VecDeque<Entry>,
}

impl RecentlyProtected {
    /// Records that this origin no longer protects the object.
    pub(super) fn add(
        &mut self,
        object: ProtectedObject,
        kind: IdentityKind,
        origin: &str,
        certificate: Option<&ServedCertificate>,
        now: Timestamp,
    ) {
        let identity = Identity {
            kind,
            origin: origin.to_owned(),
            certificate: certificate.cloned(),
        };
        self.entries
            .retain(|entry| entry.object != object || entry.identity != identity);
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            object,
            identity,
            until: now.checked_add(RETENTION).unwrap_or(now),
        });
    }

    /// The identities that recently protected this SAN, each with the time at which that expires.
    pub(super) fn find(
        &self,
        san: &San,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Identity, Timestamp)> {
        self.entries
            .iter()
            .filter(move |entry| entry.until > now && entry.object.covers(san))
            .map(|entry| (&entry.identity, entry.until))
    }

    /// The names and addresses that certificates held recently, each with the host that served it.
    pub(super) fn served(&self, now: Timestamp) -> impl Iterator<Item = (&San, &San)> {
        let entries = self.entries.iter().filter(move |entry| entry.until > now);
        entries.filter_map(|entry| {
            let host = entry.identity.certificate.as_ref()?.host.as_ref()?;
            match &entry.object {
                ProtectedObject::San(san) => Some((host, san)),
                ProtectedObject::Network(_) => None,
            }
        })
    }

    /// Drops expired entries.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.entries.retain(|entry| entry.until > now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_expires_after_an_hour_and_is_dropped() {
        let san = San::from_host_text("10.0.0.1").unwrap();
        let since = Timestamp::from_second(1_000_000).unwrap();
        let after = |seconds| since + SignedDuration::from_secs(seconds);
        let mut recent = RecentlyProtected::default();
        let kind = IdentityKind::ApiServerEndpoint;
        recent.add(
            ProtectedObject::San(san.clone()),
            kind,
            "a slice",
            None,
            since,
        );
        recent.add(
            ProtectedObject::San(san.clone()),
            kind,
            "another",
            None,
            after(1),
        );
        assert_eq!(recent.find(&san, after(3599)).count(), 2);
        assert_eq!(recent.find(&san, after(3600)).count(), 1);
        recent.prune(after(3600));
        assert_eq!(recent.entries.len(), 1);
        assert_eq!(recent.find(&san, since).count(), 1);
        recent.prune(after(3601));
        assert!(recent.entries.is_empty());
    }
}
