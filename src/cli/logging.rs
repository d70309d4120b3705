//! Log filter, shared by all commands that write log messages.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Libraries whose messages do not help an administrator.
const SILENT: [&str; 3] = ["kube", "hyper", "rustls"];

/// Filter for messages of this level and above, without those of [`SILENT`] libraries.
pub(super) fn messages(level: LevelFilter) -> Targets {
    let silent = SILENT.map(|library| (library, LevelFilter::OFF));
    Targets::new().with_default(level).with_targets(silent)
}
