//! `docs/metrics.md` and `docs/policy.md` are complete, and list nothing else.

#![allow(missing_docs, unreachable_pub)]

use std::collections::BTreeMap;

use crate::exposition::{exposed, families};
use judge::policy::{default_policy, parse};
use serde_json::Value;

const METRICS: &str = include_str!("../../docs/metrics.md");
const POLICY: &str = include_str!("../../docs/policy.md");
const DEFAULT: &str = include_str!("../../policies/default.yaml");
const STRICT: &str = include_str!("../../policies/strict.yaml");

/// Returns the rows of the first table, each cell without its backticks.
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

/// Returns paths and values of all fields that are not a section. A list or an empty section is a
/// value.
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
    // A field that strict omits has its default.
    let mut strict = default.clone();
    strict.extend(fields(STRICT));
    let column = |at: usize| -> BTreeMap<String, String> {
        let rows = table(POLICY).into_iter();
        rows.map(|row| (row[0].clone(), row[at].clone())).collect()
    };
    assert_eq!(column(2), default);
    assert_eq!(column(3), strict);
}

/// The default policy has every field, so none can be missing on the page.
#[test]
fn the_default_policy_has_every_field() {
    let policy = serde_json::to_value(default_policy().unwrap()).unwrap();
    let mut all = BTreeMap::new();
    leaves("", &policy, &mut all);
    let names = |fields: &BTreeMap<String, String>| fields.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fields(DEFAULT)), names(&all));
}

/// The examples on the page are valid policies.
#[test]
fn the_example_is_a_policy() {
    let example = POLICY.split("```yaml\n").nth(1).unwrap();
    parse(example.split("```").next().unwrap()).unwrap();
}
