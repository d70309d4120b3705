//! Metrics of the daemon. Labels are bounded: never the name of a node, a request or a user.

mod registration;
mod scraped_gauge;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::log_queue::LostLines;
use crate::cluster::clock::Offset;
use judge::evidence::{Evidence, Source};
use judge::finding::Code;
use judge::policy::Policy;
use judge::{Decision, Judgment};
use scraped_gauge::ScrapedGauge;

/// Histogram bounds of the approval latency, in seconds.
const LATENCY_BUCKETS: [f64; 13] = [
    0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 900.0,
];
/// Histogram bounds of the time of one judgment, in seconds.
const JUDGE_BUCKETS: [f64; 8] = [
    0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.005, 0.05,
];

/// Prefix of the names, except those of the process.
const PREFIX: &str = "csr_warden";
/// Label values of a policy reload.
const RELOAD_SUCCEEDED: &str = "success";
const RELOAD_REJECTED: &str = "error";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabel {
    name: String,
    digest: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

/// Numbers of requests since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Certificates issued for requests approved here.
    pub issued: u64,
    /// Requests dropped because their requestor had too many.
    pub dropped: u64,
    /// Requests dropped because all of them took too much memory.
    pub dropped_for_memory: u64,
    /// Requests whose denial was deferred.
    pub denials_deferred: u64,
}

/// All metrics of the daemon.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<VerdictLabel, Counter>,
    findings: Family<CodeLabel, Counter>,
    pending: Family<ReasonLabel, Gauge>,
    oldest_pending: Gauge<f64, AtomicU64>,
    latency: Histogram,
    judge: Histogram,
    writes: Family<ResultLabel, Counter>,
    source_synced: Family<SourceLabel, Gauge>,
    source_age: Family<SourceLabel, Gauge<f64, AtomicU64>>,
    source_errors: Family<SourceLabel, Counter>,
    undecodable_objects: Family<SourceLabel, Counter>,
    policy: Family<PolicyLabel, Gauge>,
    policy_reloads: Family<ResultLabel, Counter>,
    policy_reload_successful: Gauge,
    issued: Counter,
    approved_unissued: Gauge,
    dropped: Counter,
    dropped_for_memory: Counter,
    denials_deferred: Counter,
    write_limit: Gauge,
}

impl Metrics {
    /// Metrics at zero, with every label value that is known in advance. `started` is the start of
    /// the process.
    pub fn new(policy: &Policy, started: Timestamp) -> Metrics {
        let mut registry = Registry::default();
        let metrics = Metrics {
            requests: Family::default(),
            findings: Family::default(),
            pending: Family::default(),
            oldest_pending: Gauge::default(),
            latency: Histogram::new(LATENCY_BUCKETS),
            judge: Histogram::new(JUDGE_BUCKETS),
            writes: Family::default(),
            source_synced: Family::default(),
            source_age: Family::default(),
            source_errors: Family::default(),
            undecodable_objects: Family::default(),
            policy: Family::default(),
            policy_reloads: Family::default(),
            policy_reload_successful: Gauge::default(),
            issued: Counter::default(),
            approved_unissued: Gauge::default(),
            dropped: Counter::default(),
            dropped_for_memory: Counter::default(),
            denials_deferred: Counter::default(),
            write_limit: Gauge::default(),
            registry: Mutex::default(),
        };
        metrics.register(&mut registry, started);
        metrics.preset(started);
        metrics.set_policy(policy);
        Metrics {
            registry: Mutex::new(registry),
            ..metrics
        }
    }

    /// Counts a changed verdict and its findings.
    pub fn record_verdict(&self, judgment: &Judgment) {
        let decision = judgment.verdict.decision();
        self.requests.get_or_create(&verdict_label(decision)).inc();
        for code in judgment.codes() {
            let label = CodeLabel {
                code: code.as_str(),
            };
            self.findings.get_or_create(&label).inc();
        }
    }

    /// Observes the time of a judgment.
    pub fn observe_judgment(&self, time: Duration) {
        self.judge.observe(time.as_secs_f64());
    }

    /// Counts a write. `after` is the time since the request arrived, if the condition was written.
    pub fn record_write(&self, result: &'static str, after: Option<Duration>) {
        self.writes.get_or_create(&ResultLabel { result }).inc();
        if let Some(after) = after {
            self.latency.observe(after.as_secs_f64());
        }
    }

    /// Counts a failure of a source.
    pub fn record_source_failure(&self, source: Source) {
        self.source_errors
            .get_or_create(&source_label(source))
            .inc();
    }

    /// Counts an object of a source that cannot be decoded.
    pub fn record_undecodable(&self, source: Source) {
        self.undecodable_objects
            .get_or_create(&source_label(source))
            .inc();
    }

    /// Sets the policy in force.
    pub fn set_policy(&self, policy: &Policy) {
        self.policy.clear();
        let label = PolicyLabel {
            name: policy.metadata.name.clone(),
            digest: policy.digest.clone(),
        };
        self.policy.get_or_create(&label).set(1);
    }

    /// Counts a policy reload; `used` is true if the policy is now in force.
    pub fn record_policy_reload(&self, used: bool) {
        let result = if used {
            RELOAD_SUCCEEDED
        } else {
            RELOAD_REJECTED
        };
        let label = ResultLabel { result };
        self.policy_reloads.get_or_create(&label).inc();
        self.policy_reload_successful.set(used.into());
    }

    /// Sets the state of the sources that are required or were queried. Other sources have no
    /// series, because they are not down.
    pub fn set_sources(&self, evidence: &Evidence, now: Timestamp) {
        let needed: BTreeSet<Source> = evidence.required_sources().collect();
        for source in Source::ALL {
            let label = source_label(source);
            let sources = evidence.sources();
            let has_state = sources.is_known(source) && !sources.is_not_served(source);
            if !needed.contains(&source) && !has_state {
                self.source_synced.remove(&label);
                self.source_age.remove(&label);
                continue;
            }
            let state = evidence.sources().state(source);
            let works = state.synced.is_some() && state.failing.is_none();
            self.source_synced.get_or_create(&label).set(works.into());
            let since = state
                .failing
                .map(|(since, _)| now.duration_since(since).as_secs_f64());
            let age = since.unwrap_or(0.0);
            self.source_age.get_or_create(&label).set(age);
        }
    }

    /// Sets the number of open requests by the code that they wait for, and the age of the oldest.
    pub fn set_pending(&self, waiting: impl Iterator<Item = (Code, usize)>, oldest: Duration) {
        for (code, count) in waiting {
            let reason = ReasonLabel {
                reason: code.as_str(),
            };
            self.pending
                .get_or_create(&reason)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.oldest_pending.set(oldest.as_secs_f64());
    }

    /// Sets the number of approvals without a certificate, and the totals of requests.
    pub fn set_totals(&self, unissued: usize, totals: Totals) {
        self.approved_unissued
            .set(i64::try_from(unissued).unwrap_or(i64::MAX));
        for (counter, total) in [
            (&self.issued, totals.issued),
            (&self.dropped, totals.dropped),
            (&self.dropped_for_memory, totals.dropped_for_memory),
            (&self.denials_deferred, totals.denials_deferred),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// Sets the limit of concurrent writes in force.
    pub fn set_write_limit(&self, limit: usize) {
        self.write_limit
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Registers the gauge of leadership. It is evaluated at each scrape, because a process may
    /// have been frozen since its last renewal. `None` for no series, in a dry run.
    pub fn register_leader(&self, leads: impl Fn() -> Option<bool> + Send + Sync + 'static) {
        if let Ok(mut registry) = self.registry.lock() {
            registry.register_collector(Box::new(ScrapedGauge {
                name: "csr_warden_leader",
                help: "1 if this replica is the leader, which writes, else 0",
                unit: None,
                value: Box::new(move || leads().map(i64::from)),
            }));
        }
    }

    /// Registers the difference between the machine's clock and the API server's. It is evaluated at
    /// each scrape, because the clock may be set at any time, and has no series until it is known.
    pub fn register_clock_offset(
        &self,
        offset: impl Fn() -> Option<Offset> + Send + Sync + 'static,
    ) {
        if let Ok(mut registry) = self.registry.lock() {
            registry.register_collector(Box::new(ScrapedGauge {
                name: "csr_warden_clock_offset",
                help: "Time by which this machine's clock is ahead of the API server's, negative if behind",
                unit: Some(Unit::Seconds),
                value: Box::new(move || offset().map(|offset| offset.ahead.as_secs_f64())),
            }));
        }
    }

    /// Registers the numbers of lost log lines, which are counted from before the metrics exist.
    pub fn register_lost_lines(&self, lost: &LostLines) {
        if let Ok(mut registry) = self.registry.lock() {
            let help = "Log lines lost, by reason";
            let registry = registry.sub_registry_with_prefix(PREFIX);
            registry.register("log_lines_lost", help, lost.0.clone());
        }
    }

    /// Renders all metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Ok(registry) = self.registry.lock() {
            // Writing to a String does not fail.
            let _ = text::encode(&mut text, &registry);
        }
        text
    }
}

fn verdict_label(decision: Decision) -> VerdictLabel {
    VerdictLabel {
        verdict: decision.as_str(),
    }
}

fn source_label(source: Source) -> SourceLabel {
    SourceLabel {
        source: source.as_str(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use judge::evidence::Fact;
    use judge::policy;
    use judge::policy::default_policy;

    fn synced(metrics: &Metrics) -> Vec<String> {
        let name = "csr_warden_source_synced{source=";
        let text = metrics.encode();
        let values = text.lines().filter_map(|line| line.strip_prefix(name));
        let mut values: Vec<String> = values.map(|value| value.replace(['"', '}'], "")).collect();
        values.sort();
        values
    }

    /// An alert on 0 must not fire for a source that is not configured.
    #[test]
    fn an_unconfigured_source_has_no_series() {
        let metrics = Metrics::new(&default_policy().unwrap(), Timestamp::UNIX_EPOCH);
        let needed = [
            "apiserver-certificates 0",
            "apiserver-endpoints 0",
            "certificatesigningrequests 0",
            "cluster-info 0",
            "kubernetes-service 0",
            "namespaces 0",
            "nodes 0",
            "servicecidrs 0",
        ];
        assert_eq!(synced(&metrics), needed);

        let now = Timestamp::UNIX_EPOCH;
        let cluster_api = policy::SHIPPED
            .iter()
            .find(|(name, _)| *name == "cluster-api");
        let policy = policy::parse(cluster_api.unwrap().1).unwrap();
        let mut evidence = Evidence::new(&policy.spec);
        evidence.apply(Fact::Synced(Source::Dns), now);
        metrics.set_sources(&evidence, now);
        let shown = synced(&metrics);
        assert!(shown.contains(&"machines 0".into()), "{shown:?}");
        assert!(shown.contains(&"dns 1".into()), "{shown:?}");

        let default = policy::default_policy().unwrap();
        evidence.policy_changed(&policy.spec, &default.spec, now);
        metrics.set_sources(&evidence, now);
        assert_eq!(synced(&metrics), needed);
    }
}
