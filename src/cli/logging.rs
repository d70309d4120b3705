//! Which messages are written, the same way for every command that writes some.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Libraries that have nothing to tell an administrator.
const SILENT: [&str; 3] = ["kube", "hyper", "rustls"];

/// Messages of this level and above, of our own.
pub(super) fn messages(level: LevelFilter) -> Targets {
    let silent = SILENT.map(|library| (library, LevelFilter::OFF));
    Targets::new().with_default(level).with_targets(silent)
}
