//! A cluster in the box: for a demonstration, for benchmarks and for tests, on loopback only.

pub mod api;
