//! Collection of the facts. Every call has a deadline, and concurrency is bounded.

mod approval_rights;
mod distribution;
mod kubelet_tls;
mod kubelets;
mod node_restriction;
mod objects;
mod reader;
mod version_and_clock;
mod workloads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

use super::facts::Facts;
use crate::cluster::connection::Connection;
use crate::cluster::error::ApiError;
use reader::Reader;

/// A cluster whose API server cannot be reached.
#[derive(Debug, Error)]
#[error("cannot examine {server}: {cause}")]
pub struct GatherError {
    /// The API server's URL.
    pub server: String,
    /// The cause.
    pub cause: ApiError,
}

/// Options of `doctor`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum number of nodes whose kubelets are checked; all if `None`.
    pub nodes: Option<usize>,
    /// Maximum number of kubelets that are dialed at the same time.
    pub concurrency: usize,
    /// Deadline of one call.
    pub deadline: Duration,
    /// CA certificates of kubelets in DER; if empty, those of the kubeconfig.
    pub kubelet_authorities: Vec<Vec<u8>>,
    /// Networks of Services that the policy names.
    pub service_networks: Vec<IpNet>,
    /// If false, the dry run as another node is skipped.
    pub impersonate: bool,
}

/// Progress of the collection.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Progress {
    /// The number of kubelets done and in total; `None` before the total is known.
    pub fn kubelets(&self) -> Option<(usize, usize)> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed), total))
    }
}

/// Collects all facts. Fails only if the API server cannot be reached.
pub(super) async fn gather(
    connection: &Connection,
    options: &Options,
    progress: &Progress,
) -> Result<Facts, GatherError> {
    let reader = Reader {
        client: connection.writes.clone(),
        deadline: options.deadline,
    };
    // First and alone: if this fails, all other reads would too. The clocks are compared while
    // nothing else runs.
    let version = version_and_clock::version(&reader, &connection.clock).await;
    let (version, clock) = version.map_err(|cause| GatherError {
        server: connection.server(),
        cause,
    })?;
    let nodes = objects::nodes(&reader);
    let (nodes, service_cidrs, kubelet_config, requests, controller_manager) = tokio::join!(
        nodes,
        version_and_clock::service_cidrs(&reader),
        objects::kubelet_config(&reader),
        objects::requests(&reader),
        objects::lease(&reader, "kube-system", "kube-controller-manager"),
    );
    let (workloads, approvers, api_servers, autoscalers, api_groups, config_maps) = tokio::join!(
        workloads::workloads(&reader),
        approval_rights::approvers(&reader),
        workloads::api_servers(&reader),
        workloads::autoscalers(&reader),
        distribution::api_groups(&reader),
        distribution::config_maps(&reader),
    );
    let warden = objects::warden_lease(&reader, &workloads).await;
    let (kubelets, restriction) = tokio::join!(
        kubelets::kubelets(&reader, connection, options, nodes.as_deref(), progress),
        node_restriction::restriction(connection, options, nodes.as_deref()),
    );
    Ok(Facts {
        server: connection.server(),
        now: connection.clock.wall(),
        clock,
        version,
        api_groups,
        config_maps,
        service_cidrs,
        service_networks: options.service_networks.clone(),
        nodes,
        kubelets,
        kubelet_config,
        requests,
        controller_manager,
        warden,
        workloads,
        approvers,
        restriction,
        api_servers,
        autoscalers,
    })
}
