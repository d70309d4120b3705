//! The metric families of `/metrics`, and a parser of the text format.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use csr_warden::cluster::clock::Offset;
use csr_warden::telemetry::log_queue::LostLines;
use csr_warden::telemetry::metrics::Metrics;
use jiff::{SignedDuration, Timestamp};
use judge::csr::{CsrObject, Request};
use judge::evidence::{Evidence, Fact, Source};
use judge::finding::Code;
use judge::policy::default_policy;

/// Renders every family of the daemon with a sample. A family without a sample is not exposed.
pub(crate) fn exposed() -> String {
    let policy = default_policy().unwrap();
    let metrics = Metrics::new(&policy, Timestamp::UNIX_EPOCH);
    let now = Timestamp::now();
    let mut evidence = Evidence::default();
    for source in Source::ALL {
        evidence.apply(Fact::Synced(source), now);
    }
    let object = CsrObject {
        name: "csr-1".into(),
        uid: "1".into(),
        resource_version: "1".into(),
        created: now,
        terminating: false,
        signer: "example.org/other".into(),
        requestor: judge::csr::Requestor::default(),
        usages: Default::default(),
        expiration_seconds: None,
        settled: None,
        preserved: judge::csr::PreservedMetadata::default(),
    };
    let request = Request::read(object, b"");
    metrics.record_verdict(&judge::judge(&request, &policy, &evidence, now));
    metrics.set_pending([(Code::NodeMissing, 1)].into_iter(), Duration::ZERO);
    metrics.record_write("written", Some(Duration::ZERO));
    metrics.register_leader(|| Some(true));
    metrics.register_clock_offset(|| {
        Some(Offset {
            ahead: SignedDuration::from_secs(-2),
            uncertainty: Duration::from_millis(500),
        })
    });
    metrics.register_lost_lines(&LostLines::default());
    metrics.encode()
}

/// Returns the name as in a query, the type and the labels of each family.
pub(crate) fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let ending = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            current = format!("{name}{ending}");
            families.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            let labels = labels.split('}').next().unwrap().split("\",");
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let known = &mut families.get_mut(&current).expect("a family").1;
            known.extend(names.filter(|name| name != "le"));
        }
    }
    families
}
