//! The stable interface: everything that a script, an alert, a policy file or a log query relies on.
//!
//! `docs/stable-interface.txt` lists it, one item a line. An item that disappears is a breaking change
//! and fails here; `UPDATE_DOCS=1 cargo test --test program` adds new items and never removes one.
//!
//! A release copies the list to `docs/released-interface.txt`. An item that has been released is removed
//! only after `docs/deprecated-interface.txt` has named it for two minor versions.

use std::collections::BTreeSet;

use csr_warden::cli::{command, schemas, schemas_of_files};
use csr_warden::doctor;
use judge::API_VERSION;
use judge::evidence::Source;
use judge::finding::Code;
use serde_json::Value;

use crate::exposition::{exposed, families};

const LIST: &str = "docs/stable-interface.txt";
/// The list of the last release.
const RELEASED: &str = "docs/released-interface.txt";
/// Items that will be removed, one a line: the version that deprecates it, and the item.
const DEPRECATED: &str = "docs/deprecated-interface.txt";
/// An item is removed so many minor versions after the one that deprecates it, or later.
const MINOR_VERSIONS: u64 = 2;
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

/// Major and minor version.
fn minor(version: &str) -> (u64, u64) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Returns the released items that this version lacks, although no release has deprecated them for long
/// enough.
fn removed_too_early(
    released: &BTreeSet<String>,
    current: &BTreeSet<String>,
    deprecated: &str,
    version: &str,
) -> Vec<String> {
    let (major, now) = minor(version);
    let long_enough = |item: &&String| {
        deprecated
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, name)| name == item)
            .map(|(since, _)| minor(since))
            .any(|(of, since)| major > of || now >= since + MINOR_VERSIONS)
    };
    let gone = released.difference(current);
    gone.filter(|item| !long_enough(item)).cloned().collect()
}

#[test]
fn a_released_item_is_deprecated_for_two_minor_versions() {
    let set = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
    let released = set(&["flag run --a", "flag run --b"]);
    let current = set(&["flag run --b", "flag run --c"]);
    let early = |deprecated, version| removed_too_early(&released, &current, deprecated, version);
    assert_eq!(early("", "0.9.0"), ["flag run --a"]);
    assert_eq!(early("0.3.0 flag run --a\n", "0.4.9"), ["flag run --a"]);
    assert_eq!(early("0.3.0 flag run --b\n", "0.5.0"), ["flag run --a"]);
    assert!(early("0.3.0 flag run --a\n", "0.5.0").is_empty());
    assert!(early("0.3.0 flag run --a\n", "1.0.0").is_empty());
}

#[test]
fn nothing_released_was_removed_too_early() {
    let changelog = std::fs::read_to_string("CHANGELOG.md").unwrap();
    let has_release = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## ["))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let released = std::fs::read_to_string(RELEASED);
    assert_eq!(
        released.is_ok(),
        has_release,
        "{RELEASED} is committed with the first release"
    );
    let released = released.unwrap_or_default();
    let released: BTreeSet<String> = released.lines().map(str::to_owned).collect();
    let deprecated = std::fs::read_to_string(DEPRECATED).unwrap();
    let current = interface();
    for line in deprecated.lines().filter(|line| !line.starts_with('#')) {
        let (_, item) = line.split_once(' ').unwrap();
        assert!(
            released.contains(item) || current.contains(item),
            "{DEPRECATED}: {item}"
        );
    }
    let early = removed_too_early(&released, &current, &deprecated, env!("CARGO_PKG_VERSION"));
    assert!(early.is_empty(), "released, and removed: {early:#?}");
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
