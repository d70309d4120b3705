//! Registration of the metrics: name, help and unit of each, and its label values at zero.

use jiff::Timestamp;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{
    CodeLabel, Metrics, PREFIX, RELOAD_REJECTED, RELOAD_SUCCEEDED, ResultLabel, source_label,
    verdict_label,
};
use crate::cluster::approval::Outcome;
use crate::telemetry::process::ProcessCollector;
use crate::version::{COMMIT, VERSION};
use judge::Decision;
use judge::evidence::{Evidence, Source};
use judge::finding::Code;

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry, started: Timestamp) {
        registry.register_collector(Box::new(ProcessCollector::new(started)));
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register(
            "requests",
            "Requests by verdict, counted when it changes",
            self.requests.clone(),
        );
        r.register(
            "findings",
            "Findings by code, counted when the verdict changes",
            self.findings.clone(),
        );
        r.register(
            "pending",
            "Requests that wait, by the code of the first reason",
            self.pending.clone(),
        );
        r.register_with_unit(
            "oldest_pending",
            "Age of the oldest open request",
            Unit::Seconds,
            self.oldest_pending.clone(),
        );
        r.register_with_unit(
            "approval_latency",
            "Time from the arrival of a request to its written condition",
            Unit::Seconds,
            self.latency.clone(),
        );
        r.register_with_unit(
            "judge",
            "Time to judge one request",
            Unit::Seconds,
            self.judge.clone(),
        );
        r.register(
            "writes",
            "Writes of conditions by result",
            self.writes.clone(),
        );
        r.register(
            "source_synced",
            "1 if a source of evidence is complete and works, else 0",
            self.source_synced.clone(),
        );
        r.register_with_unit(
            "source_age",
            "Time since a failing source last worked; 0 while it works",
            Unit::Seconds,
            self.source_age.clone(),
        );
        r.register(
            "source_errors",
            "Failures of a source of evidence",
            self.source_errors.clone(),
        );
        r.register(
            "undecodable_objects",
            "Objects of a source that could not be decoded and are not used",
            self.undecodable_objects.clone(),
        );
        r.register(
            "issued",
            "Certificates issued for requests approved here",
            self.issued.clone(),
        );
        r.register(
            "approved_unissued",
            "Requests approved here that have no certificate yet",
            self.approved_unissued.clone(),
        );
        r.register(
            "requests_dropped",
            "Old requests no longer kept because their requestor has too many",
            self.dropped.clone(),
        );
        r.register(
            "requests_dropped_for_memory",
            "Requests dropped because all open ones took too much memory, the largest requestor first",
            self.dropped_for_memory.clone(),
        );
        r.register(
            "denials_deferred",
            "Requests whose denial was deferred, because their requestor had one recently",
            self.denials_deferred.clone(),
        );
        r.register(
            "write_limit",
            "Limit of concurrent writes in force",
            self.write_limit.clone(),
        );
        r.register("policy_info", "The policy in force", self.policy.clone());
        r.register(
            "policy_reloads",
            "Policy reloads by result",
            self.policy_reloads.clone(),
        );
        r.register(
            "policy_last_reload_successful",
            "1 if the policy that was read last is in force, else 0",
            self.policy_reload_successful.clone(),
        );
        let build = Info::new([("version", VERSION), ("commit", COMMIT)]);
        r.register("build", "The version and the commit of this program", build);
    }

    /// Creates all known series. A counter that starts at its first event shows no increase for it.
    pub(super) fn preset(&self, started: Timestamp) {
        for decision in Decision::ALL {
            drop(self.requests.get_or_create(&verdict_label(decision)));
        }
        for code in Code::ALL {
            let code = code.as_str();
            drop(self.findings.get_or_create(&CodeLabel { code }));
        }
        for result in Outcome::LABELS {
            drop(self.writes.get_or_create(&ResultLabel { result }));
        }
        for source in Source::ALL {
            drop(self.source_errors.get_or_create(&source_label(source)));
            drop(
                self.undecodable_objects
                    .get_or_create(&source_label(source)),
            );
        }
        for result in [RELOAD_SUCCEEDED, RELOAD_REJECTED] {
            drop(self.policy_reloads.get_or_create(&ResultLabel { result }));
        }
        self.policy_reload_successful.set(1);
        self.set_sources(&Evidence::default(), started);
    }
}
