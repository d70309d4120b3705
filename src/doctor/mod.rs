//! Whether a cluster is set up so that clients of its kubelets can verify them.
//!
//! Facts are gathered first (`gather`), with a deadline on every call; each check is then a pure
//! function of them (`checks`). Nothing is written: the only write-like call is a dry run.

mod checks;
mod facts;
mod finding_code;
mod gather;
mod report;

pub use finding_code::{Code, Severity};
pub use gather::{GatherError, Options, Progress};
pub use report::{Check, Checked, Finding, Report};

use crate::cluster::connection::Connection;

/// Looks at a cluster, and says what is wrong with it. An error only if the API server cannot be
/// asked at all.
pub async fn examine(
    connection: &Connection,
    options: &Options,
    progress: &Progress,
) -> Result<Report, GatherError> {
    let facts = gather::gather(connection, options, progress).await?;
    Ok(checks::report(&facts))
}
