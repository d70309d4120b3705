//! The scripts in `deploy/release/` that need neither a compiler nor a control plane.

use std::path::Path;
use std::process::{Command, Output};

use ring::digest::{SHA256, digest};
use serde_json::Value;

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const PLATFORMS: [(&str, &str); 4] = [
    ("linux", "amd64"),
    ("linux", "arm64"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
];

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A repository with this changelog, and the script that reads it.
fn repository_with(changelog: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    std::fs::create_dir_all(at("deploy/release")).unwrap();
    for file in [
        "Cargo.toml",
        "deploy/release/notes",
        "deploy/release/variables",
    ] {
        std::fs::copy(root(file), at(file)).unwrap();
    }
    std::fs::write(at("CHANGELOG.md"), changelog).unwrap();
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.org",
            "commit",
            "--quiet",
            "--message=Test",
        ],
    ] {
        let status = Command::new("git")
            .args(args)
            .current_dir(directory.path())
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    }
    directory
}

fn notes(changelog: &str, args: &[&str]) -> Output {
    let repository = repository_with(changelog);
    let script = repository.path().join("deploy/release/notes");
    Command::new(script).args(args).output().unwrap()
}

#[test]
fn the_text_of_a_release_is_its_section_of_the_changelog() {
    let tag = format!("v{VERSION}");
    let released = format!(
        "# Changelog\n\n## [Unreleased]\n\n- Later\n\n## [{VERSION}] - 2026-12-01\n\n### Added\n\n- This\n\n\
         ## [0.0.1] - 2026-11-01\n\n- Earlier\n"
    );
    for args in [&[][..], &[tag.as_str()]] {
        let found = text(&notes(&released, args));
        assert_eq!(found.trim_end(), "### Added\n\n- This");
    }
    let unreleased = "# Changelog\n\n## [Unreleased]\n\n- Later\n";
    assert_eq!(text(&notes(unreleased, &[])).trim_end(), "- Later");
    // A tag needs its own section, and the version of Cargo.toml.
    for (changelog, tag) in [(unreleased, tag.as_str()), (&released, "v9.9.9")] {
        let output = notes(changelog, &[tag]);
        assert_eq!(output.status.code(), Some(1), "{tag}");
    }
}

#[test]
fn this_changelog_has_a_section_for_the_next_release() {
    let output = Command::new(root("deploy/release/notes")).output();
    let found = text(&output.unwrap());
    assert!(found.lines().any(|line| line.starts_with("- ")), "{found}");
}

fn krew(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(root("deploy/release/krew"));
    command.arg(directory).args(args).output().unwrap()
}

/// krew takes the archive's files and links `bin` under the plugin's name
/// (<https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest>).
#[test]
fn the_plugins_manifest_has_the_archives_and_their_checksums() {
    let directory = tempfile::tempdir().unwrap();
    let archive = |(os, arch)| format!("csr-warden-{os}-{arch}.tar.gz");
    for platform in PLATFORMS {
        let name = archive(platform);
        std::fs::write(directory.path().join(&name), &name).unwrap();
    }
    let manifest = text(&krew(directory.path(), &["--all"]));
    let manifest: Value = serde_saphyr::from_str(&manifest).unwrap();
    assert_eq!(
        manifest["apiVersion"],
        "krew.googlecontainertools.github.com/v1alpha2"
    );
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "csr-warden");
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], format!("v{VERSION}"));
    assert_eq!(spec["homepage"], REPOSITORY);
    // The limit of krew.
    assert!(spec["shortDescription"].as_str().unwrap().len() <= 50);
    let found = spec["platforms"].as_array().unwrap();
    assert_eq!(found.len(), PLATFORMS.len());
    for (platform, (os, arch)) in found.iter().zip(PLATFORMS) {
        let labels = serde_json::json!({"os": os, "arch": arch});
        assert_eq!(platform["selector"]["matchLabels"], labels);
        assert_eq!(platform["bin"], "csr-warden");
        let files = platform["files"].as_array().unwrap().iter();
        let completion = "kubectl_complete-csr_warden";
        assert!(files.into_iter().any(|file| file["from"] == completion));
        let name = archive((os, arch));
        let uri = format!("{REPOSITORY}/releases/download/v{VERSION}/{name}");
        assert_eq!(platform["uri"], uri);
        let sum: String = digest(&SHA256, name.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(platform["sha256"], sum);
    }

    std::fs::remove_file(directory.path().join(archive(("darwin", "arm64")))).unwrap();
    assert!(!krew(directory.path(), &["--all"]).status.success());
    let manifest: Value = serde_saphyr::from_str(&text(&krew(directory.path(), &[]))).unwrap();
    assert_eq!(manifest["spec"]["platforms"].as_array().unwrap().len(), 3);
}
