//! The version of this program, and the commit that it was built from.

use jiff::Timestamp;

/// A value that the build did not know.
const UNKNOWN: &str = "unknown";

/// The version, as in Cargo.toml.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The target triple that it was built for.
pub(crate) const TARGET: &str = env!("CSR_WARDEN_TARGET");
/// The commit that it was built from, or `unknown`. It ends in `-dirty` if files differed from it.
pub(crate) const COMMIT: &str = known(env!("CSR_WARDEN_COMMIT"));
/// The version and the commit, for `--version`.
pub(crate) const LINE: &str = if is_known(COMMIT) {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (",
        env!("CSR_WARDEN_COMMIT"),
        ")"
    )
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (unknown commit)")
};

/// The date of the commit, if the build knew it.
pub(crate) fn date() -> Option<Timestamp> {
    let seconds = env!("CSR_WARDEN_COMMIT_SECONDS").parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

const fn known(commit: &'static str) -> &'static str {
    if commit.is_empty() { UNKNOWN } else { commit }
}

const fn is_known(commit: &str) -> bool {
    // Each commit is longer.
    commit.len() > UNKNOWN.len()
}
