//! The stable interface: everything that a script, an alert, a policy file or a log query relies on.
//!
//! `docs/stable-interface.txt` lists it, one item a line. An item that disappears is a breaking change
//! and fails here; `UPDATE_DOCS=1 cargo test --test program` adds new items and never removes one.

use std::collections::BTreeSet;

use csr_warden::cli::{command, schemas, schemas_of_files};
use csr_warden::doctor;
use judge::API_VERSION;
use judge::evidence::Source;
use judge::finding::Code;
use serde_json::Value;

use crate::exposition::{exposed, families};

const LIST: &str = "docs/stable-interface.txt";
/// Commands that only try things out: their flags may change at any time.
const UNSTABLE: [&str; 2] = ["demo", "bench"];

#[test]
fn nothing_stable_has_disappeared() {
    let current = interface();
    let committed = std::fs::read_to_string(LIST).unwrap_or_default();
    let committed: BTreeSet<String> = committed.lines().map(str::to_owned).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let all: Vec<&str> = committed.union(&current).map(String::as_str).collect();
        std::fs::write(LIST, all.join("\n") + "\n").unwrap();
        return;
    }
    let gone: Vec<_> = committed.difference(&current).collect();
    assert!(
        gone.is_empty(),
        "no longer there, which breaks users: {gone:#?}"
    );
    let new: Vec<_> = current.difference(&committed).collect();
    assert!(
        new.is_empty(),
        "{LIST} does not have these: run `UPDATE_DOCS=1 cargo test --test program`: {new:#?}"
    );
}

fn interface() -> BTreeSet<String> {
    let mut all = BTreeSet::from([format!("apiVersion {API_VERSION}")]);
    all.extend(Code::ALL.iter().map(|code| format!("finding {code}")));
    all.extend(
        doctor::Code::ALL
            .iter()
            .map(|code| format!("doctor {code}")),
    );
    all.extend(
        Source::ALL
            .iter()
            .map(|source| format!("source {}", source.as_str())),
    );
    for (name, (kind, labels)) in families(&exposed()) {
        all.insert(format!("metric {name} {kind}"));
        all.extend(
            labels
                .iter()
                .map(|label| format!("metric {name} label {label}")),
        );
    }
    let mut root = command();
    root.build();
    flags(&root, &mut all);
    let of_files = schemas_of_files().map(|(name, _, schema)| (name, schema));
    for (name, schema) in schemas().into_iter().chain(of_files) {
        let schema = schema.to_value();
        all.insert(format!(
            "json {name} $id {}",
            schema["$id"].as_str().unwrap()
        ));
        fields(name, &schema, &schema, "", &mut all);
    }
    all
}

/// Every flag and environment variable of a command and of those below it.
fn flags(command: &clap::Command, all: &mut BTreeSet<String>) {
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned();
    all.insert(format!("command {name}"));
    for arg in command.get_arguments() {
        if let Some(long) = arg.get_long() {
            all.insert(format!("flag {name} --{long}"));
        }
        if let Some(variable) = arg.get_env() {
            all.insert(format!("environment {name} {}", variable.to_string_lossy()));
        }
    }
    let below = command.get_subcommands();
    for command in below.filter(|command| !UNSTABLE.contains(&command.get_name())) {
        flags(command, all);
    }
}

/// Every field below this schema, by its path.
fn fields(name: &str, root: &Value, schema: &Value, path: &str, all: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#'));
        return fields(name, root, target.unwrap(), path, all);
    }
    for (field, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{field}");
        all.insert(format!("json {name} {path}"));
        fields(name, root, below, &path, all);
    }
    if schema["items"].is_object() {
        fields(name, root, &schema["items"], &format!("{path}[]"), all);
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for below in schema[word].as_array().into_iter().flatten() {
            fields(name, root, below, path, all);
        }
    }
}
