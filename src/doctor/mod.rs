//! Checks of a cluster's kubelet TLS: clients can verify kubelets, or the findings say what
//! prevents it.
//!
//! `gather` reads the facts, with a deadline on every call. `checks` are pure functions of them.
//! Nothing is written; one write is tried as a dry run.

mod checks;
mod distributions;
mod facts;
mod finding_code;
mod gather;
mod kubelet_request;
mod node_verdicts;
mod report;

pub use finding_code::{Code, Severity};
pub use gather::{GatherError, Options, Progress};
pub use kubelet_request::{KubeletRequests, NotSent};
pub use node_verdicts::{
    Basis, Contested, MissingEvidence, NodeFinding, NodeVerdict, NodeVerdicts, PolicyLine, Subject,
    judge_nodes,
};
pub use report::{Check, Checked, Finding, Report};

use std::future::Future;

use crate::cluster::connection::Connection;

/// Checks a cluster. Fails only if the API server cannot be reached. The verdicts on Nodes are awaited
/// after that is known; an error in them is the reason why there are no verdicts.
pub async fn examine(
    connection: &Connection,
    options: &Options,
    progress: &Progress,
    verdicts: impl Future<Output = Result<NodeVerdicts, String>>,
) -> Result<Report, GatherError> {
    let facts = gather::gather(connection, options, progress).await?;
    Ok(checks::report(&facts, verdicts.await))
}
