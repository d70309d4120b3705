//! The embedded API server: implements kube-apiserver for the objects that kubelets and their
//! approver need.
//!
//! It keeps everything in memory and serves HTTPS on 127.0.0.1. It reads JSON and YAML, protobuf
//! for requests and reviews, and responds in JSON.
//!
//! The conformance tests run the same cases against it and against kube-apiserver. They list the
//! known differences with their reasons: no OpenAPI, few kinds in protobuf, and requests that only
//! one of the two rejects.

mod access_reviews;
mod admission;
mod attributes;
mod authn;
mod authority;
mod authz;
mod bootstrap;
mod call;
mod clock;
mod connections;
mod csr_strategy;
mod decode;
mod delete;
mod discovery;
mod encoding;
mod entropy;
mod events;
mod faults;
mod field_validation;
mod in_memory;
mod metadata;
mod object;
mod patch;
mod pkcs10;
mod protobuf;
mod rbac;
mod read;
mod request_info;
mod resources;
mod respond;
mod router;
mod selectors;
mod server;
mod status_error;
mod store;
mod table;
mod tls;
mod watch;
mod write;
mod write_log;

pub use authn::User;
pub use authority::{Authority, Pair, request};
pub use faults::{Fault, Faults};
pub use in_memory::InMemory;
pub use server::{Options, Server};
pub use write_log::{Entry, WriteKind};
