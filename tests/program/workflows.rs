//! The workflows and settings of the forge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn workflows() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root(".github/workflows")).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().display().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn actions_are_pinned_by_commit() {
    let mut commits = BTreeMap::new();
    for (name, text) in workflows() {
        let lines = text
            .lines()
            .map(|line| line.trim().trim_start_matches("- "));
        for used in lines.filter_map(|line| line.strip_prefix("uses: ")) {
            let (action, pin) = used.split_once('@').expect(used);
            let (commit, version) = pin.split_once(" # v").expect(used);
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_commit, "{name}: {used}");
            assert_eq!(version.split('.').count(), 3, "{name}: {used}");
            let before = commits.insert(action.to_owned(), pin.to_owned());
            assert!(before.is_none_or(|before| before == pin), "{name}: {used}");
        }
    }
    assert!(commits.contains_key("actions/checkout"), "{commits:?}");
}

/// A workflow starts with the right to read, and each job names what else it needs.
#[test]
fn workflows_start_with_the_right_to_read() {
    for (name, text) in workflows() {
        assert!(
            text.contains("\npermissions:\n  contents: read\n"),
            "{name}"
        );
        // The token is written to a file unless it is refused.
        let checkouts = text.matches("actions/checkout@").count();
        let refused = text.matches("persist-credentials: false").count();
        assert_eq!(checkouts, refused, "{name}");
    }
}

/// Each script that a workflow runs exists.
#[test]
fn workflows_run_scripts_that_exist() {
    let mut found = BTreeSet::new();
    for (name, text) in workflows() {
        let lines = text.lines().filter(|line| !line.trim().starts_with('#'));
        let words = lines
            .flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'`();$".contains(c)));
        for word in words {
            let is_script = ["deploy/release/", "deploy/image/", "tests/", ".ci/"];
            if is_script.iter().any(|folder| word.starts_with(folder)) {
                assert!(root(word).is_file(), "{name}: {word}");
                found.insert(word.to_owned());
            }
        }
    }
    assert!(found.contains("deploy/release/build"), "{found:?}");
}

/// Dependencies are updated in each directory that pins some.
#[test]
fn every_module_is_updated() {
    let settings = std::fs::read_to_string(root(".github/dependabot.yml")).unwrap();
    let files = Command::new("git")
        .args(["ls-files", "*go.mod", "*Cargo.lock", "*requirements.txt"])
        .current_dir(root("."))
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    let mut modules = 0;
    for file in files.lines() {
        let (directory, _) = file.rsplit_once('/').unwrap_or_default();
        let listed = settings
            .split(|c: char| c.is_whitespace() || "[],".contains(c))
            .any(|word| word == format!("/{directory}"));
        assert!(listed, ".github/dependabot.yml does not list /{directory}");
        modules += 1;
    }
    assert!(modules > 5, "{files}");
}
