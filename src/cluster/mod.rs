//! Kubernetes: the client, watches that become evidence, the approval write, the Lease, events.

pub mod access;
pub mod approval;
pub mod backoff;
pub mod certificate_check;
pub mod certificates;
pub mod clock;
pub mod connection;
pub mod error;
pub mod events;
mod kubeconfig;
pub mod lease;
pub mod objects;
pub mod protected;
pub mod random;
pub mod request;
mod token;
pub mod watch;
