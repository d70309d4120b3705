//! Names the commit, its date and the target of a build, for `csr-warden version`.
//!
//! Equal sources give equal values. `CSR_WARDEN_COMMIT` and `SOURCE_DATE_EPOCH` take precedence over git, for
//! builds from a copy of the sources. Without both, and in debug builds, the commit is unknown: otherwise each
//! commit would compile everything again.

use std::path::Path;
use std::process::Command;

/// Sources of the program. A change of them that is not committed makes the commit `-dirty`.
const SOURCES: [&str; 6] = [
    "src",
    "crates",
    "policies",
    "Cargo.toml",
    "Cargo.lock",
    "docs/decision.schema.json",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["CSR_WARDEN_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let directory = variable("CARGO_MANIFEST_DIR").unwrap_or_default();
    let directory = Path::new(&directory);
    let asks_git = variable("PROFILE").is_some_and(|profile| profile != "debug");
    let found = asks_git.then(|| commit(directory)).flatten();
    if let Some(found) = &found {
        let changing = SOURCES.iter().map(|path| (*path).to_owned());
        for path in changing.chain(found.files.iter().cloned()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let (name, seconds) = found
        .map(|found| (found.name, found.seconds))
        .unwrap_or_default();
    let name = variable("CSR_WARDEN_COMMIT").unwrap_or(name);
    let seconds = variable("SOURCE_DATE_EPOCH").unwrap_or(seconds);
    println!("cargo::rustc-env=CSR_WARDEN_COMMIT={name}");
    println!("cargo::rustc-env=CSR_WARDEN_COMMIT_SECONDS={seconds}");
    let target = variable("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=CSR_WARDEN_TARGET={target}");
}

/// The commit of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its hash, with `-dirty` if files differ from it.
    pub(crate) name: String,
    /// Its date, in seconds since 1970.
    pub(crate) seconds: String,
    /// Files of git that change with the next commit.
    pub(crate) files: Vec<String>,
}

/// The commit of a directory; `None` if it is not the top of a git repository, such as an unpacked archive
/// inside of another repository.
pub(crate) fn commit(directory: &Path) -> Option<Commit> {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        let output = git.current_dir(directory).args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != directory.canonicalize().ok()? {
        return None;
    }
    let files = ["HEAD", "logs/HEAD"].into_iter();
    let files = files.filter_map(|name| git(&["rev-parse", "--git-path", name]));
    let files = files.filter(|path| directory.join(path).exists());
    Some(Commit {
        name: git(&[
            "describe",
            "--always",
            "--abbrev=40",
            "--dirty",
            "--exclude=*",
        ])?,
        seconds: git(&["show", "--no-patch", "--format=%ct", "HEAD"])?,
        files: files.collect(),
    })
}
