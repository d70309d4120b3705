//! A real control plane on this machine, for tests.
//!
//! etcd, kube-apiserver and kube-controller-manager run as plain processes on loopback addresses.
//! The [`fleet`] requests certificates with the kubelet's own code. The [`daemon`] is csr-warden.
//!
//! Imports point downward only: cluster, fleet, daemon -> pki, process -> output, ports.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub
)]

pub mod assets;
pub mod bound_token;
pub mod case;
pub mod cluster;
mod cluster_dir;
mod components;
pub mod config_map_volume;
pub mod daemon;
pub mod decision_log;
pub mod etcd;
pub mod extension_api_server;
pub mod fake_api_server;
pub mod fleet;
pub mod hollow_nodes;
pub mod https;
pub mod install;
pub mod json_lines;
pub mod kubelet_port;
mod kubernetes_version;
pub mod manifests;
pub mod metrics;
pub mod monitoring_queries;
pub mod netns;
pub mod node_user;
mod options;
pub mod output;
pub mod pki;
pub mod pod;
pub mod ports;
pub mod process;
pub mod prometheus;
mod signer_readiness;
pub mod tcp_relay;
mod workload_flags;

use std::time::Duration;

use anyhow::{Result, anyhow};
use assets::Assets;
use tokio::runtime::Runtime;

/// The interval of polling, for conditions without a notification.
pub const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns the prerequisites of a cluster: its programs and a runtime. Installs the TLS provider.
pub fn prepare() -> Result<(Assets, Runtime)> {
    let assets = Assets::find().map_err(|missing| anyhow!("{missing}"))?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("the TLS library has been set up already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok((assets, runtime))
}
