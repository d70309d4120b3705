//! The Kubernetes version under test: the one pinned in `go/go.mod`, or `CSR_WARDEN_KUBERNETES`.
//! For another version a Go module is written next to its programs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The version pinned in `go/go.mod`.
const PINNED: &str = "1.36.2";
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");
/// Parts of Kubernetes that newer versions than the pinned one have.
const NEWER_PARTS: [&str; 2] = ["apiextensions-api", "ktesting"];

/// Returns the version under test, as `1.36.2`.
pub fn version() -> String {
    let named = std::env::var("CSR_WARDEN_KUBERNETES").ok();
    named
        .filter(|name| !name.is_empty())
        .unwrap_or(PINNED.into())
}

/// Returns the Go module of this version and the directory of its programs. `built` is the
/// directory of the pinned version.
pub fn module(version: &str, built: &Path) -> Result<(PathBuf, PathBuf)> {
    if version == PINNED {
        return Ok((MODULE.into(), built.into()));
    }
    ensure!(
        is_version(version),
        "CSR_WARDEN_KUBERNETES: expected a version as 1.35.4 or 1.38.0-beta.0, found `{version}`"
    );
    let home = built.with_file_name(version);
    let (module, bin) = (home.join("go"), home.join("bin"));
    std::fs::create_dir_all(&bin)?;
    let lock = File::create(home.join("lock"))?;
    lock.lock()
        .with_context(|| format!("lock of `{}`", home.display()))?;
    let text = go_mod(
        &std::fs::read_to_string(Path::new(MODULE).join("go.mod"))?,
        version,
    );
    let from = home.join("from.mod");
    if !std::fs::read_to_string(&from).is_ok_and(|made| made == text) {
        std::fs::create_dir_all(&module)?;
        std::fs::write(module.join("go.mod"), &text)?;
        sources(&module)?;
        tidy(&module)?;
        std::fs::write(&from, &text)?;
    }
    sources(&module)?;
    Ok((module, bin))
}

/// Is it three numbers, perhaps with `-alpha.N`, `-beta.N` or `-rc.N`?
fn is_version(text: &str) -> bool {
    let number = |part: &str| part.parse::<u16>().is_ok();
    let (release, preview) = text.split_once('-').unwrap_or((text, "rc.0"));
    let preview = preview
        .split_once('.')
        .is_some_and(|(stage, of)| ["alpha", "beta", "rc"].contains(&stage) && number(of));
    release.split('.').count() == 3 && release.split('.').all(number) && preview
}

/// Returns `go.mod` for another version. All versions except those of Kubernetes and its parts come
/// from Kubernetes itself.
fn go_mod(pinned: &str, version: &str) -> String {
    let mut text = String::new();
    let mut in_require = false;
    for line in pinned.lines() {
        match line {
            "require (" => in_require = true,
            ")" if in_require => in_require = false,
            _ if in_require => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    // Staging modules have the same minor and patch numbers, and major 0.
    let part = |version: &str| format!(" v0{}", version.trim_start_matches('1'));
    let mut text = text.replace(&part(PINNED), &part(version));
    for name in NEWER_PARTS {
        text += &format!("replace k8s.io/{name} => k8s.io/{name}{}\n", part(version));
    }
    format!("{text}\nrequire k8s.io/kubernetes v{version}\n")
}

/// Copies the Go programs of this repository.
fn sources(module: &Path) -> Result<()> {
    for folder in std::fs::read_dir(MODULE)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let into = module.join(folder.file_name());
        std::fs::create_dir_all(&into)?;
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            std::fs::copy(file.path(), into.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn tidy(module: &Path) -> Result<()> {
    let status = Command::new("go")
        .args(["mod", "tidy"])
        .current_dir(module)
        .status()
        .context("run `go mod tidy`")?;
    ensure!(
        status.success(),
        "`go mod tidy` failed in {}: are all parts of this version to be had?",
        module.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_recognized() {
        for good in ["1.35.4", "1.38.0-beta.0", "1.37.0-rc.1"] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "1.35",
            "v1.35.4",
            "1.35.4-",
            "1.35.x",
            "1.38.0-beta",
            "1.2.3.4",
            "",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn another_version_replaces_every_part() {
        let pinned = std::fs::read_to_string(Path::new(MODULE).join("go.mod")).unwrap_or_default();
        let text = go_mod(&pinned, "1.38.0-beta.0");
        assert!(
            text.contains("k8s.io/api => k8s.io/api v0.38.0-beta.0\n"),
            "{text}"
        );
        assert!(text.contains("k8s.io/ktesting => k8s.io/ktesting v0.38.0-beta.0\n"));
        assert!(text.ends_with("require k8s.io/kubernetes v1.38.0-beta.0\n"));
        assert!(!text.contains("0.36."), "{text}");
    }
}
