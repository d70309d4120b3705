//! Fuzz targets, one file for each: a property of every input, the seeds, and a mutator whose results
//! pass the first checks of the parser.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

pub mod der;
pub mod inventory;
pub mod judge;
mod kubelet_request;
pub mod pem;
pub mod policy;
mod request_info;
mod scene;
mod signing;
mod tlv;

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::forge::Recipe;
use crate::random::Random;

/// A target's own mutator. Returns `None` to let libFuzzer mutate the input.
pub type Mutate = fn(&[u8], &mut Random) -> Option<Vec<u8>>;

/// A fuzz target.
pub struct Target {
    /// The name of its file in `fuzz_targets` and of its directory in the corpus.
    pub name: &'static str,
    /// Checks the property. Panics if it does not hold for this input.
    pub check: fn(&[u8]),
    /// The seeds, from `tests/vectors`.
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub mutate: Mutate,
}

/// Every target.
pub const ALL: &[Target] = &[
    Target {
        name: "pem",
        check: pem::check,
        seeds: pem::seeds,
        mutate: |_, _| None,
    },
    Target {
        name: "der",
        check: der::check,
        seeds: der::seeds,
        mutate: der::mutate,
    },
    Target {
        name: "policy",
        check: policy::check,
        seeds: policy::seeds,
        mutate: |_, _| None,
    },
    Target {
        name: "inventory",
        check: inventory::check,
        seeds: inventory::seeds,
        mutate: |_, _| None,
    },
    Target {
        name: "judge",
        check: judge::check,
        seeds: judge::seeds,
        mutate: judge::mutate,
    },
];

/// The DER of a recipe, cached because signing is slow and targets share requests.
fn der_of(recipe: &Recipe) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let key = format!("{recipe:?}");
    let mut made = MADE.lock().unwrap();
    made.entry(key).or_insert_with(|| recipe.der()).clone()
}
