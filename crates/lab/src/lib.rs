//! A simulated cluster for the demonstration, benchmarks and tests, on loopback only.

pub mod attacker;
pub mod fleet;
pub mod forgery;
pub mod judge_fixtures;
pub mod kubelet;
pub mod latency;
pub mod random;
pub mod request;
pub mod signer;
