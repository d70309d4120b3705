//! Sources of evidence, and the state of each.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// A source of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The watch on Nodes.
    Nodes,
    /// The watch on Namespaces.
    Namespaces,
    /// The watch on CertificateSigningRequests, which has the keys in use.
    Requests,
    /// The Service `default/kubernetes`.
    KubernetesService,
    /// The EndpointSlices of that Service.
    ApiServerEndpoints,
    /// The ServiceCIDR objects.
    ServiceCidrs,
    /// The ConfigMap `kube-public/cluster-info`, if it exists.
    ClusterInfo,
    /// The certificates that the API servers present.
    ApiServerCertificates,
    /// The administrator's inventory, if configured.
    Inventory,
    /// The watches on Machines, if the policy names a kind.
    Machines,
    /// DNS, if the policy uses it.
    Dns,
    /// The certificates that kubelets present, if the policy uses them.
    ServingCertificates,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 12] = [
        Source::Nodes,
        Source::Namespaces,
        Source::Requests,
        Source::KubernetesService,
        Source::ApiServerEndpoints,
        Source::ServiceCidrs,
        Source::ClusterInfo,
        Source::ApiServerCertificates,
        Source::Inventory,
        Source::Machines,
        Source::Dns,
        Source::ServingCertificates,
    ];
    /// The sources that every judgment needs.
    pub const REQUIRED: [Source; 8] = [
        Source::Nodes,
        Source::Namespaces,
        Source::Requests,
        Source::KubernetesService,
        Source::ApiServerEndpoints,
        Source::ServiceCidrs,
        Source::ClusterInfo,
        Source::ApiServerCertificates,
    ];

    /// The name in metrics, logs and `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Nodes => "nodes",
            Source::Namespaces => "namespaces",
            Source::Requests => "certificatesigningrequests",
            Source::KubernetesService => "kubernetes-service",
            Source::ApiServerEndpoints => "apiserver-endpoints",
            Source::ServiceCidrs => "servicecidrs",
            Source::ClusterInfo => "cluster-info",
            Source::ApiServerCertificates => "apiserver-certificates",
            Source::Inventory => "inventory",
            Source::Machines => "machines",
            Source::Dns => "dns",
            Source::ServingCertificates => "serving-certificates",
        }
    }

    /// Maximum time since a source began to fail during which its last state stays valid. API objects
    /// change every minute; the names of an API server change when it is set up again.
    fn staleness_limit(self) -> SignedDuration {
        match self {
            Source::Nodes | Source::Requests | Source::Machines => SignedDuration::from_secs(60),
            // Each answer has its own expiry.
            Source::Dns | Source::ServingCertificates => SignedDuration::ZERO,
            Source::Namespaces
            | Source::KubernetesService
            | Source::ApiServerEndpoints
            | Source::ServiceCidrs
            | Source::ClusterInfo => SignedDuration::from_mins(5),
            // The last valid inventory stays in force.
            Source::ApiServerCertificates | Source::Inventory => SignedDuration::from_hours(1),
        }
    }
}

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Monotonic time of the last sync; `None` if it never synced.
    pub synced: Option<Timestamp>,
    /// Monotonic time since which it fails, with the last reason; `None` while it works.
    pub failing: Option<(Timestamp, String)>,
    /// True while it fails because the API server has no such resource.
    pub is_not_served: bool,
}

/// The state of every source.
#[derive(Debug, Default)]
pub struct Sources {
    states: BTreeMap<Source, SourceState>,
}

impl Sources {
    /// Records that the source has synced. Returns true if its state changed.
    pub(super) fn synced(&mut self, source: Source, now: Timestamp) -> bool {
        let state = self.states.entry(source).or_default();
        let changed = state.synced.is_none() || state.failing.is_some();
        *state = SourceState {
            synced: Some(now),
            failing: None,
            is_not_served: false,
        };
        changed
    }

    /// Records that the source fails. Returns true if its state or the reason changed.
    pub(super) fn failed(&mut self, source: Source, now: Timestamp, why: &str) -> bool {
        self.fails(source, now, why, false)
    }

    /// Records that the API server has no such resource. Returns true if the state or the reason changed.
    pub(super) fn not_served(&mut self, source: Source, now: Timestamp, why: &str) -> bool {
        self.fails(source, now, why, true)
    }

    fn fails(&mut self, source: Source, now: Timestamp, why: &str, is_not_served: bool) -> bool {
        let state = self.states.entry(source).or_default();
        let failing = state.failing.as_ref();
        let changed =
            state.is_not_served != is_not_served || failing.is_none_or(|(_, before)| before != why);
        let since = state.failing.take().map_or(now, |(since, _)| since);
        state.failing = Some((since, why.to_owned()));
        state.is_not_served = is_not_served;
        changed
    }

    /// Returns true while the source fails because the API server has no such resource.
    pub fn is_not_served(&self, source: Source) -> bool {
        let state = self.states.get(&source);
        state.is_some_and(|state| state.is_not_served)
    }

    /// Records that the source fails and that its last state is no longer complete. Returns true
    /// if its state or the reason changed.
    pub(super) fn incomplete(&mut self, source: Source, now: Timestamp, why: &str) -> bool {
        let changed = self.failed(source, now, why);
        let state = self.states.entry(source).or_default();
        state.synced.take().is_some() || changed
    }

    /// Resets the source: nothing has been read from it yet.
    pub(super) fn reset(&mut self, source: Source) {
        self.states.remove(&source);
    }

    /// Returns true if the source has synced or failed.
    pub fn is_known(&self, source: Source) -> bool {
        self.states.contains_key(&source)
    }

    /// The state of one source.
    pub fn state(&self, source: Source) -> SourceState {
        self.states.get(&source).cloned().unwrap_or_default()
    }

    /// The given sources that are not ready, each with the reason.
    pub fn unready(
        &self,
        asked: impl IntoIterator<Item = Source>,
        now: Timestamp,
    ) -> Vec<(Source, String)> {
        asked
            .into_iter()
            .filter_map(|source| Some((source, self.why_unready(source, now)?)))
            .collect()
    }

    fn why_unready(&self, source: Source, now: Timestamp) -> Option<String> {
        let Some(state) = self.states.get(&source) else {
            return Some("has not been read yet".into());
        };
        match (&state.synced, &state.failing) {
            (None, None) => Some("has not been read yet".into()),
            (None, Some((_, why))) => Some(format!("cannot be read: {why}")),
            (Some(_), Some((since, why)))
                if now.duration_since(*since) > source.staleness_limit() =>
            {
                let down = now.duration_since(*since).as_secs();
                Some(format!("has been down for {down} s: {why}"))
            }
            (Some(_), _) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_unchanged_state_is_not_reported_as_a_change() {
        let mut sources = Sources::default();
        assert!(!sources.is_known(Source::Nodes));
        assert!(sources.synced(Source::Nodes, at(1)));
        assert!(!sources.synced(Source::Nodes, at(2)));
        assert!(sources.failed(Source::Nodes, at(3), "no route"));
        assert!(!sources.failed(Source::Nodes, at(4), "no route"));
        assert!(sources.failed(Source::Nodes, at(5), "no reply"));
        let state = sources.state(Source::Nodes);
        assert_eq!(state.synced, Some(at(2)));
        assert_eq!(state.failing, Some((at(3), "no reply".to_owned())));
        assert!(sources.synced(Source::Nodes, at(6)));
        assert_eq!(sources.state(Source::Nodes).failing, None);
        assert!(sources.is_known(Source::Nodes));
    }

    #[test]
    fn an_incomplete_source_is_not_synced() {
        let mut sources = Sources::default();
        assert!(sources.incomplete(Source::ServiceCidrs, at(1), "none"));
        assert!(!sources.incomplete(Source::ServiceCidrs, at(2), "none"));
        assert!(sources.incomplete(Source::ServiceCidrs, at(3), "two"));
        sources.synced(Source::ServiceCidrs, at(4));
        sources.failed(Source::ServiceCidrs, at(5), "none");
        assert!(sources.incomplete(Source::ServiceCidrs, at(6), "none"));
        assert_eq!(sources.state(Source::ServiceCidrs).synced, None);
        sources.reset(Source::ServiceCidrs);
        assert_eq!(sources.state(Source::ServiceCidrs), SourceState::default());
    }

    #[test]
    fn a_synced_source_is_ready() {
        let mut sources = Sources::default();
        assert_eq!(sources.unready(Source::ALL, at(1)).len(), Source::ALL.len());
        for source in Source::ALL {
            sources.synced(source, at(1));
        }
        assert!(sources.unready(Source::ALL, at(1)).is_empty());
    }
}
