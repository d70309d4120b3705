//! Alerts, dashboard and runbooks. `promtool` runs the tests of the alerts. Every queried metric is
//! exposed, and each alert has a section with the action to take.

#![allow(clippy::panic, clippy::print_stderr, missing_docs, unreachable_pub)]

mod dashboard;
mod mixin;
mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use control_plane::monitoring_queries::{alerts, of_alerts, of_records, records};
use judge::finding::{Code, Effect};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/csr-warden");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");
/// The page of runbooks, at the address that Cargo.toml names.
const RUNBOOKS_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks.md");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap_or_default()
}

/// Runs `promtool` in this directory, from Debian's package `prometheus`.
fn promtool(directory: &Path, args: &[&str]) {
    let output = match Command::new("promtool")
        .args(args)
        .current_dir(directory)
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
    promtool(Path::new(FOLDER), &["check", "rules", "rules.yaml"]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(Path::new(FOLDER), &["test", "rules", "rules.test.yaml"]);
}

/// Compares a file that is made from another one. `UPDATE_DOCS=1` regenerates it.
fn is_current(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is stale: run `UPDATE_DOCS=1 cargo test --test program -- monitoring::`",
        path.display()
    );
}

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
    is_current(&Path::new(FOLDER).join("prometheus-rule.yaml"), &manifest);
    let parsed: Value = serde_saphyr::from_str(&manifest).unwrap();
    let plain: Value = serde_saphyr::from_str(&rules).unwrap();
    assert_eq!(parsed["spec"]["groups"], plain["groups"]);
}

/// The chart can disable each rule by its name, and no other.
#[test]
fn the_charts_schema_names_every_rule() {
    let schema = std::fs::read(Path::new(CHART).join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let monitoring = &schema["properties"]["monitoring"]["properties"];
    let listed = &monitoring["prometheusRule"]["properties"]["disabled"]["items"]["enum"];
    let names = of_alerts().into_iter().chain(of_records());
    let names: Vec<String> = names.map(|query| query.of).collect();
    assert_eq!(*listed, Value::from(names));
}

#[test]
fn every_alert_is_tested_both_ways() {
    let file: Value = serde_saphyr::from_str(&read("rules.test.yaml")).unwrap();
    let mut tested = BTreeMap::<String, BTreeSet<bool>>::new();
    for test in file["tests"].as_array().unwrap() {
        for one in test["alert_rule_test"].as_array().into_iter().flatten() {
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

/// A recorded series is tested by a query of its name.
#[test]
fn every_recording_rule_is_tested() {
    let file: Value = serde_saphyr::from_str(&read("rules.test.yaml")).unwrap();
    let tests = file["tests"].as_array().unwrap().iter();
    let queries = tests.flat_map(|test| test["promql_expr_test"].as_array());
    let tested: Vec<&Value> = queries.flatten().map(|query| &query["expr"]).collect();
    let recorded = records();
    let recorded: Vec<&Value> = recorded.iter().map(|rule| &rule["record"]).collect();
    assert_eq!(tested, recorded);
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
        // Without the templates of labels.
        let fixed = annotation("summary").split("{{");
        let fixed = fixed.map(|part| part.split_once("}}").map_or(part, |(_, rest)| rest));
        assert!(fixed.map(str::len).sum::<usize>() <= 72, "{name}");
        assert!(annotation("description").ends_with('.'), "{name}");
        // The anchor of the heading, as GitHub makes it.
        let (page, anchor) = annotation("runbook_url").split_once('#').unwrap();
        assert_eq!((page, anchor), (RUNBOOKS_URL, &*name.to_lowercase()));
        let section = sections.remove(name).unwrap_or_else(|| panic!("{name}"));
        for part in ["**Meaning.**", "**Look at.**", "**Fix it.**", "```sh"] {
            assert!(section.contains(part), "{name} has no {part}");
        }
    }
    assert!(sections.is_empty(), "no alert: {:?}", sections.keys());
}
