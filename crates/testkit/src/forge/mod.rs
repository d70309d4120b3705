//! Forges PKCS#10 requests: the one a kubelet sends, and every way to send another.
//!
//! It uses nothing of the judge, so a mistake there cannot hide in the vectors that are meant to find
//! it.
//!
//! A request is built in three steps, each of which a [`Recipe`] can change:
//! 1. a named [`der::Node`] tree, from what the recipe says the request holds;
//! 2. [`fault::Fault`]s, which spoil the encoding of chosen nodes;
//! 3. the self-signature, over the spoiled bytes, so that a hostile request is refused for its shape and
//!    not for a signature that happens to fail.
//!
//! See `README.md` for every field with an example.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

pub mod algorithm;
pub mod attribute;
pub mod der;
pub mod extension;
pub mod fault;
pub mod fixture;
pub mod general_name;
pub mod keys;
pub mod octets;
pub mod oid;
pub mod pem;
pub mod recipe;
pub mod rsa;
pub mod signature;
pub mod subject;

pub use recipe::Recipe;
