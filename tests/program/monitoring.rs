//! Alerts, dashboard and runbooks. `promtool` runs the tests of the alerts. Every queried metric is
//! exposed, and each alert has a section with the action to take.

#![allow(clippy::panic, clippy::print_stderr, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::exposition::{exposed, families};
use control_plane::monitoring_queries::{
    Query, alerts, dashboard, of_alerts, of_dashboard, rendered,
};
use judge::finding::{Code, Effect};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");
/// Labels that a scrape adds.
const OF_THE_SCRAPE: [&str; 4] = ["namespace", "job", "instance", "pod"];
/// Metrics of other programs: the kubelet, and the alerts of Prometheus.
const OF_OTHERS: [(&str, &[&str]); 2] = [
    ("kubelet_certificate_manager_server_ttl_seconds", &[]),
    ("ALERTS", &["alertname", "alertstate"]),
];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap_or_default()
}

/// Runs `promtool`, from Debian's package `prometheus`.
fn promtool(args: &[&str]) {
    let output = match Command::new("promtool")
        .args(args)
        .current_dir(FOLDER)
        .output()
    {
        Ok(output) => output,
        Err(error) if std::env::var_os("CI").is_some() => panic!("promtool: {error}"),
        Err(error) => {
            eprintln!("skipped, `promtool` cannot be run (package prometheus): {error}");
            return;
        }
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
}

#[test]
fn promtool_takes_the_rules() {
    promtool(&["check", "rules", "rules.yaml"]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(&["test", "rules", "rules.test.yaml"]);
}

/// `UPDATE_DOCS=1 cargo test --test program` regenerates it.
#[test]
fn the_prometheus_rule_holds_the_same_groups() {
    let rules = read("rules.yaml");
    let groups = rules.split_once("\ngroups:\n").expect("groups").1;
    let mut manifest = String::from(
        "# Made from rules.yaml, for the operator of kube-prometheus-stack.\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  \
         name: csr-warden\n  namespace: kube-system\n  labels:\n    \
         app.kubernetes.io/name: csr-warden\nspec:\n  groups:\n",
    );
    for line in groups.lines() {
        manifest.push_str("  ");
        manifest.push_str(line);
        manifest.push('\n');
    }
    let path = Path::new(FOLDER).join("prometheus-rule.yaml");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &manifest).unwrap();
    }
    let found = read("prometheus-rule.yaml");
    assert!(
        found == manifest,
        "prometheus-rule.yaml is stale: run `UPDATE_DOCS=1 cargo test --test program`"
    );
    let parsed: Value = serde_saphyr::from_str(&found).unwrap();
    let plain: Value = serde_saphyr::from_str(&rules).unwrap();
    assert_eq!(parsed["spec"]["groups"], plain["groups"]);
}

#[test]
fn every_alert_is_tested_both_ways() {
    let file: Value = serde_saphyr::from_str(&read("rules.test.yaml")).unwrap();
    let mut tested = BTreeMap::<String, BTreeSet<bool>>::new();
    for test in file["tests"].as_array().unwrap() {
        for one in test["alert_rule_test"].as_array().unwrap() {
            let fires = !one["exp_alerts"].as_array().unwrap().is_empty();
            // Without any input, a test that no alert fires proves nothing.
            assert!(fires || !test["input_series"].as_array().unwrap().is_empty());
            let name = one["alertname"].as_str().unwrap().to_owned();
            tested.entry(name).or_default().insert(fires);
        }
    }
    let both = BTreeSet::from([false, true]);
    let all: BTreeMap<String, BTreeSet<bool>> = of_alerts()
        .into_iter()
        .map(|query| (query.of, both.clone()))
        .collect();
    assert_eq!(tested, all);
}

/// A critical alert is for what no honest kubelet causes.
#[test]
fn denials_alert_by_the_code() {
    let codes_in = |alert: &str| -> BTreeSet<String> {
        let rules = alerts();
        let rule = rules.iter().find(|rule| rule["alert"] == alert).unwrap();
        let expr = rule["expr"].as_str().unwrap();
        let mut lists = expr
            .split("code=~\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        let first = lists.next().unwrap();
        assert!(lists.all(|list| list == first), "{expr}");
        first.split('|').map(str::to_owned).collect()
    };
    let denials = Code::ALL
        .iter()
        .filter(|code| code.effect() == Effect::Deny);
    let (honest, forged): (Vec<_>, Vec<_>) = denials.partition(|code| code.is_of_honest_kubelets());
    let names = |codes: Vec<&Code>| codes.iter().map(|code| code.to_string()).collect();
    assert_eq!(codes_in("CsrWardenDenied"), names(honest));
    assert_eq!(codes_in("CsrWardenForgery"), names(forged));
}

#[test]
fn every_alert_has_a_summary_and_a_runbook() {
    let mut sections = BTreeMap::new();
    for section in RUNBOOKS.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap();
        sections.insert(title, body);
    }
    for rule in alerts() {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        let annotation = |key: &str| {
            let value = rule["annotations"][key].as_str();
            value.unwrap_or_else(|| panic!("{name} has no {key}"))
        };
        assert!(annotation("summary").len() <= 72, "{name}");
        assert!(annotation("description").ends_with('.'), "{name}");
        // Anchors of headings on GitHub.
        let anchor = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(annotation("runbook"), anchor);
        let section = sections.remove(name).unwrap_or_else(|| panic!("{name}"));
        for part in ["**What it means.**", "**Look at.**", "**Fix it.**", "```sh"] {
            assert!(section.contains(part), "{name} has no {part}");
        }
    }
    assert!(sections.is_empty(), "no alert: {:?}", sections.keys());
}

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
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
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
        } else if word.contains('_') && !after.trim_start().starts_with('(') || word == "ALERTS" {
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
    let queries = of_alerts().into_iter().chain(of_dashboard());
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

/// Checks the parts of Grafana's model that a panel needs to be drawn.
#[test]
fn every_panel_can_be_drawn() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "csr-warden");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().flat_map(|v| v["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job"]);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
        let kind = panel["type"].as_str().unwrap();
        if kind == "row" {
            continue;
        }
        assert!(["stat", "timeseries", "state-timeline", "table"].contains(&kind));
        assert!(
            panel["description"].as_str().unwrap().ends_with('.'),
            "{title}"
        );
        let mut references = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                references.insert(target["refId"].as_str().unwrap()),
                "{title}"
            );
            // Either instant or over time.
            assert_ne!(target["instant"], target["range"], "{title}");
        }
        assert!(!references.is_empty(), "{title}");
    }
}
