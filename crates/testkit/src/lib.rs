//! Test data for the judge: a builder of hostile requests, the vectors of `tests/vectors`, random
//! clusters, and the fuzz targets.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod api_objects;
pub mod cluster;
pub mod facts;
pub mod forge;
pub mod fuzz_targets;
pub mod honest_page;
pub mod honest_table;
pub mod mutant;
pub mod policies;
pub mod random;
pub mod scene;
pub mod scene_generator;
pub mod strategies;
pub mod threat_table;
pub mod topology;
pub mod vector;
pub mod verdicts_page;

use jiff::Timestamp;

/// The time at which every vector is judged.
pub fn now() -> Timestamp {
    "2026-07-24T12:00:00Z".parse().unwrap()
}

/// Parses a YAML file. Panics with the path on an error.
pub fn read_yaml<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> T {
    let name = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}
