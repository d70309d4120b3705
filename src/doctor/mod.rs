//! Checks of a cluster's kubelet TLS: clients can verify kubelets, or the findings say what
//! prevents it.
//!
//! `gather` reads the facts, with a deadline on every call. `checks` are pure functions of them.
//! Nothing is written; one write is tried as a dry run.

mod checks;
mod facts;
mod finding_code;
mod gather;
mod report;

pub use finding_code::{Code, Severity};
pub use gather::{GatherError, Options, Progress};
pub use report::{Check, Checked, Finding, Report};

use crate::cluster::connection::Connection;

/// Checks a cluster. Fails only if the API server cannot be reached.
pub async fn examine(
    connection: &Connection,
    options: &Options,
    progress: &Progress,
) -> Result<Report, GatherError> {
    let facts = gather::gather(connection, options, progress).await?;
    Ok(checks::report(&facts))
}
