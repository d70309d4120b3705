//! `docs/metrics.md` and `docs/policy.md` list all there is, and nothing else.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use csr_warden::csr::{Object, Request};
use csr_warden::evidence::{Evidence, Sources};
use csr_warden::finding::Code;
use csr_warden::policy::{default_policy, parse};
use csr_warden::telemetry::metrics::Metrics;
use jiff::Timestamp;
use serde_json::Value;

const METRICS: &str = include_str!("../docs/metrics.md");
const POLICY: &str = include_str!("../docs/policy.md");
const DEFAULT: &str = include_str!("../policies/default.yaml");
const STRICT: &str = include_str!("../policies/strict.yaml");

/// The rows of the first table, each cell without its backticks.
fn table(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .skip_while(|line| !line.starts_with("|--"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

/// Every family that the daemon has, each with a sample: one without is not exposed.
fn exposed() -> String {
    let policy = default_policy().unwrap();
    let metrics = Metrics::new(&policy);
    let now = Timestamp::now();
    let evidence = Evidence {
        sources: Sources::all_synced(now),
        ..Evidence::default()
    };
    let object = Object {
        name: "csr-1".into(),
        uid: "1".into(),
        resource_version: "1".into(),
        created: now,
        terminating: false,
        signer: "example.org/other".into(),
        requestor: csr_warden::csr::Requestor::default(),
        usages: Vec::new(),
        expiration_seconds: None,
        settled: None,
        kept: csr_warden::csr::Kept::default(),
    };
    let request = Request::read(object, b"");
    metrics.judged(&csr_warden::judge(&request, &policy, &evidence, now));
    metrics.show_pending([(Code::NodeMissing, 1)].into_iter(), Duration::ZERO);
    metrics.wrote("written", Some(Duration::ZERO));
    metrics.show_leader(|| true);
    metrics.encode()
}

/// Name as in a query, type and labels of each family.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
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

#[test]
fn every_metric_is_listed() {
    let listed: BTreeMap<_, _> = table(METRICS)
        .into_iter()
        .map(|row| {
            let labels = row[2].split_whitespace().map(str::to_owned).collect();
            (row[0].clone(), (row[1].clone(), labels))
        })
        .collect();
    assert_eq!(listed, families(&exposed()));
}

/// Paths and values of all that is not a section. A list is a value, and so is what has no fields.
fn leaves(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{name}"), value, into);
            }
        }
        Value::Array(values) => {
            let texts: Vec<&str> = values.iter().map(|one| one.as_str().unwrap()).collect();
            into.insert(path.to_owned(), format!("[{}]", texts.join(", ")));
        }
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            into.insert(path.to_owned(), value.to_string());
        }
    }
}

fn fields(policy: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let value: Value = serde_saphyr::from_str(policy).unwrap();
    leaves("", &value, &mut fields);
    fields
}

#[test]
fn every_field_of_a_policy_is_listed_with_its_value() {
    let default = fields(DEFAULT);
    // What strict leaves out is as in the default.
    let mut strict = default.clone();
    strict.extend(fields(STRICT));
    let column = |at: usize| -> BTreeMap<String, String> {
        let rows = table(POLICY).into_iter();
        rows.map(|row| (row[0].clone(), row[at].clone())).collect()
    };
    assert_eq!(column(2), default);
    assert_eq!(column(3), strict);
}

/// The default policy has every field that there is, so none can be missing from the page.
#[test]
fn the_default_policy_has_every_field() {
    let policy = serde_json::to_value(default_policy().unwrap()).unwrap();
    let mut all = BTreeMap::new();
    leaves("", &policy, &mut all);
    let names = |fields: &BTreeMap<String, String>| fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fields(DEFAULT)), names(&all));
}

/// The examples of the page are policies.
#[test]
fn the_example_is_a_policy() {
    let example = POLICY.split("```yaml\n").nth(1).unwrap();
    parse(example.split("```").next().unwrap()).unwrap();
}
