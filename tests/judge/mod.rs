//! Judges vectors: a request of the forge, a small cluster around it, and what must come of it.
//!
//! Include it beside the forge: `#[path = "forge/mod.rs"] mod forge;` and
//! `#[path = "judge/mod.rs"] mod judge;`.

// Each test binary uses its own part.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod cluster;
pub mod document;
pub mod policies;
pub mod rows;
pub mod vector;

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
