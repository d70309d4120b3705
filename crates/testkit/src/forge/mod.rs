//! Builder of PKCS#10 requests: the genuine request of a kubelet, and hostile variants of it.
//!
//! It uses no code of the judge, so a defect there cannot hide in the vectors that should find it.
//!
//! A request is built in three steps, each of which a [`Recipe`] can change:
//! 1. a named [`der::Node`] tree, from the content in the recipe;
//! 2. [`fault::Fault`]s, which corrupt the encoding of chosen nodes;
//! 3. the self-signature over the corrupted bytes, so that a hostile request is refused for its shape
//!    and not for an invalid signature.
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
