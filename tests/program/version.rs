//! `csr-warden version`, and the values that the build script gives it.

use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt as _;
use serde_json::Value;

#[cfg(feature = "lab")]
use crate::embedded::{Embedded, json_of, ran};

#[allow(dead_code)]
#[path = "../../build.rs"]
mod build_script;

/// The commit that the build script set for this build.
const COMMIT: &str = env!("CSR_WARDEN_COMMIT");

fn commit() -> &'static str {
    if COMMIT.is_empty() { "unknown" } else { COMMIT }
}

fn client(args: &[&str]) -> String {
    let mut command = Command::cargo_bin("csr-warden").unwrap();
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_names_its_commit_and_its_policies() {
    let version = env!("CARGO_PKG_VERSION");
    let line = client(&["--version"]);
    assert!(
        line.starts_with(&format!("csr-warden {version} (")),
        "{line}"
    );
    assert!(line.contains(commit()), "{line}");
    let text = client(&["version", "--client"]);
    let default = judge::policy::default_policy().unwrap().digest;
    for expected in [
        &format!("csr-warden  {version}\n"),
        &format!("commit      {}\n", commit()),
        &format!("policies    {default} default\n"),
    ] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    assert!(!text.contains("server"), "{text}");
    let yaml: Value =
        serde_saphyr::from_str(&client(&["version", "--client", "-o", "yaml"])).unwrap();
    assert_eq!(yaml["commit"], commit());
    assert_eq!(yaml["serverError"], Value::Null);
}

#[cfg(feature = "lab")]
#[test]
fn the_api_servers_version_is_asked_for() {
    let embedded = Embedded::start();
    let (code, stdout, _) = ran(embedded.command(&["version", "-o", "json"]));
    let versions = json_of("version", &stdout);
    assert_eq!(code, 0);
    assert_eq!(versions["server"]["url"], embedded.server.url());
    let version = versions["server"]["version"].as_str().unwrap();
    assert!(version.starts_with("v1."), "{versions}");

    let absent = "https://127.0.0.1:1";
    let (code, stdout, _) = ran(embedded.command(&["version", "-o", "json", "--server", absent]));
    let versions = json_of("version", &stdout);
    assert_eq!((code, &versions["server"]["version"]), (0, &Value::Null));
    let why = versions["serverError"].as_str().unwrap();
    assert!(why.contains("Connection refused"), "{versions}");
}

fn git(directory: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let mut git = Command::new("git");
    git.current_dir(directory).args(identity).args(args);
    git.env("GIT_COMMITTER_DATE", "2026-11-30T20:00:00+02:00");
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_build_script_names_the_commit_of_its_own_repository() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path();
    assert_eq!(build_script::commit(directory), None);
    git(directory, &["init", "--quiet"]);
    std::fs::write(directory.join("a"), "1").unwrap();
    git(directory, &["add", "a"]);
    git(directory, &["commit", "--quiet", "--message", "a"]);
    git(directory, &["tag", "v1"]);
    let hash = git(directory, &["rev-parse", "HEAD"]);
    let found = build_script::commit(directory).unwrap();
    assert_eq!((&found.name, &*found.seconds), (&hash, "1796061600"));
    for file in &found.files {
        assert!(directory.join(file).exists(), "{found:?}");
    }
    assert!(!found.files.is_empty());
    std::fs::write(directory.join("a"), "2").unwrap();
    let found = build_script::commit(directory).unwrap();
    assert_eq!(found.name, format!("{hash}-dirty"));
    // An archive that was unpacked here.
    let below = directory.join("csr-warden-0.1.0");
    std::fs::create_dir(&below).unwrap();
    assert_eq!(build_script::commit(&below), None);
}
