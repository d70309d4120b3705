//! The program csr-warden: all but the judge of requests, which is the crate `judge`.

pub mod cli;
pub mod cluster;
pub mod controller;
pub mod doctor;
pub mod sources;
pub mod telemetry;
