//! Tests of the program and of everything that is shipped with it: commands, pages, manifests,
//! schemas. They need neither Go nor root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod architecture;
#[cfg(feature = "lab")]
mod background;
#[cfg(feature = "lab")]
mod bench;
mod chart;
mod check;
mod check_vectors;
mod command_line;
#[cfg(feature = "lab")]
mod connections;
#[cfg(feature = "lab")]
mod contexts;
#[cfg(feature = "lab")]
mod demo;
mod deploy;
mod doctor;
#[cfg(feature = "lab")]
mod embedded;
mod enable;
mod exposition;
mod monitoring;
mod pages;
mod policies;
mod project_address;
mod readme;
mod reference;
mod release;
mod schemas;
#[cfg(feature = "lab")]
mod service_networks;
mod site;
mod stable_interface;
#[cfg(feature = "lab")]
mod status;
mod version;
mod workflows;
