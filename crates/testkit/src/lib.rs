//! Test data for the judge: a forge of hostile requests, the vectors of `tests/vectors`, scenes made
//! at random, and the fuzz targets.

#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod cluster;
pub mod document;
pub mod facts;
pub mod forge;
pub mod mutant;
pub mod objects;
pub mod policies;
pub mod random;
pub mod rows;
pub mod targets;
pub mod vector;
pub mod world;

use jiff::Timestamp;

/// The time at which every vector is judged.
pub fn now() -> Timestamp {
    "2026-07-24T12:00:00Z".parse().unwrap()
}

/// Reads YAML and says which file it was if it cannot.
pub fn read_yaml<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> T {
    let shown = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{shown}: {e}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{shown}: {e}"))
}
