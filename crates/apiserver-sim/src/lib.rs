//! The embedded API server: implements kube-apiserver for the objects that a cluster of kubelets and
//! their approver need.
//!
//! It keeps everything in memory and speaks HTTPS on 127.0.0.1. It reads JSON, YAML and, for requests and
//! reviews, protobuf; it answers in JSON. The conformance tests run the same cases against it and against
//! kube-apiserver, and list the known differences with their reasons: no OpenAPI, few kinds in protobuf,
//! and certification requests that only one of the two refuses.

mod admission;
mod attributes;
mod authn;
mod authority;
mod authz;
mod body;
mod bootstrap;
mod call;
mod certificates;
mod clock;
mod conduit;
mod delete;
mod discovery;
mod encoding;
mod events;
mod failure;
mod faults;
mod fields;
mod journal;
mod metadata;
mod object;
mod patch;
mod path;
mod pkcs10;
mod protobuf;
mod rbac;
mod read;
mod resources;
mod respond;
mod reviews;
mod router;
mod selectors;
mod server;
mod store;
mod table;
mod tls;
mod watch;
mod write;

pub use authn::User;
pub use authority::{Authority, Pair, request};
pub use faults::{Fault, Faults};
pub use journal::{Deed, Entry};
pub use server::{Options, Server};
