//! The metrics and labels in queries. Each one is exposed.

use std::collections::BTreeSet;

use crate::exposition::{exposed, families};
use control_plane::monitoring_queries::{Query, of_alerts, of_dashboard, of_records, rendered};

/// Labels that a scrape adds. `cluster` is an external label, or comes with remote write.
const OF_THE_SCRAPE: [&str; 5] = ["cluster", "namespace", "job", "instance", "pod"];
/// Metrics of others: the kubelet, and those that Prometheus makes itself.
const OF_OTHERS: [(&str, &[&str]); 3] = [
    ("kubelet_certificate_manager_server_ttl_seconds", &["node"]),
    ("up", &["node"]),
    ("ALERTS", &["alertname", "alertstate"]),
];

/// A metric in a query, with the labels in its selector.
#[derive(Debug, Default)]
struct Selected {
    metrics: Vec<(String, Vec<String>)>,
    /// The labels in `by (…)`.
    grouped: Vec<String>,
}

/// Parses the parts of PromQL that are needed: names, selectors in braces, and `by (…)`.
fn selected(expr: &str) -> Selected {
    let mut found = Selected::default();
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut rest = without_text(expr);
    while let Some(begin) = rest.find(is_name) {
        let tail = rest.split_off(begin);
        let length = tail.find(|c| !is_name(c)).unwrap_or(tail.len());
        let (word, after) = tail.split_at(length);
        let inside = |open: char, close: char| {
            let after = after.trim_start().strip_prefix(open)?;
            after.split_once(close)
        };
        let names = |list: &str| -> Vec<String> {
            let parts = list.split(',').map(|part| part.split(['=', '!']).next());
            let names = parts.flatten().map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        let mut next = after.to_owned();
        if word == "by" {
            let (list, behind) = inside('(', ')').expect("by (…)");
            found.grouped.extend(names(list));
            next = behind.to_owned();
        } else if word.contains('_') && !after.trim_start().starts_with('(')
            || ["ALERTS", "up"].contains(&word)
        {
            let braces = inside('{', '}');
            let labels = braces.map_or_else(Vec::new, |(list, _)| names(list));
            found.metrics.push((word.to_owned(), labels));
            if let Some((_, behind)) = braces {
                next = behind.to_owned();
            }
        } else if after.starts_with('{') {
            panic!("what is `{word}` in {expr}");
        }
        rest = next;
    }
    found
}

/// Returns the labels of the outermost aggregation.
fn aggregated(expr: &str) -> BTreeSet<String> {
    let (_, rest) = expr.split_once("by (").expect("an aggregation");
    let (labels, _) = rest.split_once(')').expect("by (…)");
    labels.split(", ").map(str::to_owned).collect()
}

fn without_text(expr: &str) -> String {
    let parts = expr.split('"').enumerate();
    let code = parts.filter(|(at, _)| at % 2 == 0).map(|(_, part)| part);
    // The unit of a window is not a name.
    let code: String = code.collect();
    let mut kept = String::new();
    for (at, part) in code.split(['[', ']']).enumerate() {
        kept.push_str(if at % 2 == 0 { part } else { " " });
    }
    kept
}

#[test]
fn every_queried_metric_is_exposed() {
    let exposed = families(&exposed());
    let known = |metric: &str| -> BTreeSet<String> {
        if let Some((_, labels)) = OF_OTHERS.iter().find(|(name, _)| *name == metric) {
            return labels.iter().map(|label| (*label).to_owned()).collect();
        }
        if let Some(recorded) = of_records().iter().find(|rule| rule.of == metric) {
            return aggregated(&recorded.expr);
        }
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|ending| metric.strip_suffix(ending));
        let histogram = family.and_then(|name| exposed.get(name));
        if let Some((kind, labels)) = histogram.filter(|(kind, _)| kind == "histogram") {
            let bucket = metric.ends_with("_bucket").then(|| "le".to_owned());
            assert_eq!(kind, "histogram");
            return labels.iter().cloned().chain(bucket).collect();
        }
        let family = exposed.get(metric);
        let (kind, labels) = family.unwrap_or_else(|| panic!("`{metric}` is not exposed"));
        assert_ne!(kind, "histogram", "{metric} is only there in parts");
        labels.clone()
    };
    let mut seen = BTreeSet::new();
    let rules = of_alerts().into_iter().chain(of_records());
    let queries = rules.chain(of_dashboard());
    for Query { of, expr, legend } in queries {
        let found = selected(&rendered(&expr, "1m"));
        assert!(!found.metrics.is_empty(), "{of}: no metric in {expr}");
        let mut all: BTreeSet<String> = OF_THE_SCRAPE.map(str::to_owned).into();
        for (metric, labels) in &found.metrics {
            let mut has = known(metric);
            has.extend(OF_THE_SCRAPE.map(str::to_owned));
            for label in labels {
                assert!(
                    has.contains(label),
                    "{of}: `{metric}` has no label `{label}`"
                );
            }
            all.extend(has);
            seen.insert(metric.clone());
        }
        for label in &found.grouped {
            assert!(all.contains(label), "{of}: nothing has the label `{label}`");
        }
        for named in legend.split("{{").skip(1) {
            let label = named.split("}}").next().unwrap().to_owned();
            let kept = found.grouped.is_empty() || found.grouped.contains(&label);
            assert!(kept && all.contains(&label), "{of}: no `{label}` is left");
        }
    }
    // A metric that no query uses need not be exposed.
    for name in exposed.keys() {
        let is_used = seen.iter().any(|metric| metric.starts_with(name.as_str()));
        assert!(is_used || name == "process_start_time_seconds", "{name}");
    }
}

/// Two releases in a cluster have two jobs, and a central Prometheus has many clusters: no rule adds up series of
/// several.
#[test]
fn every_rule_is_of_one_cluster_and_job() {
    for Query { of, expr, .. } in of_alerts().into_iter().chain(of_records()) {
        for (metric, selector) in [
            ("csr_warden_", "{job=\"csr-warden\""),
            ("kubelet_", "{job=\"kubelet\""),
            ("up{", "{job=\"kubelet\""),
        ] {
            let words = expr
                .split([' ', '('])
                .filter(|word| word.starts_with(metric));
            for word in words {
                let found = word.trim_start_matches(|c| c != '{');
                assert!(found.starts_with(selector), "{of}: {word}");
            }
        }
        let mut lists = expr.split(" by (").skip(1);
        assert!(lists.all(|list| list.starts_with("cluster")), "{of}");
        if let Some((level, _)) = of.split_once(':') {
            let labels: BTreeSet<String> = level.split('_').map(str::to_owned).collect();
            assert_eq!(aggregated(&expr), labels, "{of}");
        }
    }
}

/// The dashboard selects by each of its variables that a series has as a label.
#[test]
fn every_panel_uses_the_variables() {
    let recorded = of_records();
    for Query { of, expr, .. } in of_dashboard() {
        for (metric, labels) in &selected(&expr).metrics {
            let mut expected = BTreeSet::from(["cluster", "namespace", "job"]);
            if let Some(rule) = recorded.iter().find(|rule| rule.of == *metric) {
                let left = aggregated(&rule.expr);
                expected.retain(|label| left.contains(*label));
            }
            for label in expected {
                assert!(labels.iter().any(|one| one == label), "{of}: {metric}");
            }
        }
        // A job that is added to another one is counted twice.
        for (of_several, of_one) in [("cluster=", "cluster=~"), ("namespace=", "namespace=~")] {
            let count = |text| expr.matches(text).count();
            assert_eq!(count(of_several), count(of_one), "{of}");
        }
        let alerts = expr.matches("job=~\"$job|\"").count();
        assert_eq!(expr.matches("job=~").count(), alerts, "{of}");
    }
}

#[test]
fn queries_are_parsed_correctly() {
    let found = selected(
        "sum by (code, job) (rate(a_total{x=\"y{}\", z!~\"b|c\"}[5m] offset 10m)) > 0 unless b_c",
    );
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected: Vec<(String, Vec<String>)> = vec![
        ("a_total".into(), labels(&["x", "z"])),
        ("b_c".into(), labels(&[])),
    ];
    assert_eq!(found.metrics, expected);
    assert_eq!(found.grouped, ["code", "job"]);
}
