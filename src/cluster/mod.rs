//! Kubernetes: clients, watches, the approval write, leader election, Events, and objects with
//! protected identities.

pub mod apiserver_certificates;
pub mod approval;
pub mod backoff;
pub mod certificate_fields;
pub mod clock;
pub mod connection;
mod date_layer;
pub mod error;
pub mod events;
mod kubeconfig;
pub mod leadership;
pub mod lease;
mod lease_health;
pub mod list;
mod no_proxy;
pub mod objects;
pub mod protected_identities;
pub mod protected_objects;
mod proxy;
pub mod random;
pub mod raw_request;
pub mod relist;
pub mod required_rule;
pub mod server_time;
pub mod server_version;
pub mod shallow_value;
#[cfg(test)]
pub(crate) mod simulated_handshakes;
mod target;
pub mod time_keeper;
mod tls_connector;
pub mod tls_verifier;
mod token_file;
pub mod token_review;
pub mod watch;
