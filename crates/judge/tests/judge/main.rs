//! Tests of the judge against the threat table: vectors, shapes, properties and fuzz targets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub
)]

mod awaited;
mod contests;
mod evidence;
mod fuzz;
mod properties;
mod questions;
mod remedies;
mod shapes;
mod topologies;
mod vectors;
