//! The judge of kubelets' requests for serving certificates: a pure function of a request, a policy
//! and what is known of the cluster.
//!
//! No I/O, no clock, no async: this crate depends on neither kube nor tokio.

mod api_version;
pub mod csr;
pub mod evidence;
pub mod finding;
pub mod policy;
mod rules;
mod verdict;
pub mod yaml;

pub use api_version::API_VERSION;
pub use rules::{SanProof, unready};
pub use verdict::{Approval, Decision, Denial, Judgment, Verdict, judge};
