//! Decision about a kubelet's request for a serving certificate: a pure function of the request, the
//! policy, the evidence and the time.
//!
//! This crate has no I/O, no clock and no async. It depends on neither kube nor tokio.

mod api_version;
pub mod csr;
pub mod evidence;
pub mod finding;
mod node_pattern;
pub mod policy;
mod rules;
mod verdict;
pub mod yaml;

pub use api_version::API_VERSION;
pub use rules::{SanProof, unready};
pub use verdict::{
    APPROVED_REASON, Approval, Decision, Denial, Judgment, MESSAGE_PREFIX, Verdict, judge,
};
