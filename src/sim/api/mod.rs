//! The embedded API server: a stand-in for kube-apiserver that is held to the original, for the
//! objects that a cluster of kubelets and their approver need.
//!
//! It keeps everything in memory and speaks HTTPS on 127.0.0.1; it reads JSON, YAML and protobuf, and
//! answers in JSON. A test runs the same cases against it and against the real one.

mod admission;
mod authn;
mod authority;
mod authz;
mod body;
mod bootstrap;
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
mod http;
mod journal;
mod metadata;
mod patch;
mod path;
mod pkcs10;
mod protobuf;
mod rbac;
mod read;
mod resources;
mod reviews;
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
