//! Library of the program csr-warden. The verdict on a request is in the crate `judge`.

pub mod cli;
pub mod cluster;
pub mod controller;
pub mod doctor;
pub mod sources;
pub mod telemetry;
