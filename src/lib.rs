//! Library of the program csr-warden. The verdict on a request is in the crate `judge`.

pub mod cli;
pub mod cluster;
pub mod controller;
pub mod doctor;
#[cfg(all(test, feature = "lab"))]
#[allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm
)]
mod simulation;
pub mod sources;
pub mod telemetry;
mod version;
