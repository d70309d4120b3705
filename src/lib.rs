//! csr-warden judges the serving certificate requests of kubelets.
//!
//! The judge is a pure function of a request, what is known of the cluster, and a policy. It
//! builds without any of the rest (`--no-default-features`).

pub mod csr;
pub mod evidence;
pub mod finding;
pub mod policy;
mod rules;
mod verdict;
mod yaml;

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod cluster;
#[cfg(feature = "daemon")]
pub mod controller;
#[cfg(feature = "daemon")]
pub mod doctor;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "daemon")]
pub mod sources;
#[cfg(feature = "daemon")]
pub mod telemetry;

pub use rules::{SanProof, unready};
pub use verdict::{Approval, Decision, Denial, Judgement, Verdict, judge};
