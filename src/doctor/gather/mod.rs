//! From a cluster to facts: every call has a deadline, and what is asked of many is asked of a
//! bounded number at once.

mod approval_rights;
mod kubelet_tls;
mod kubelets;
mod node_restriction;
mod objects;
mod reader;
mod version_and_clock;
mod workloads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::facts::Facts;
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::error::ApiError;
use reader::Reader;

/// A cluster whose API server cannot be asked.
#[derive(Debug, Error)]
#[error("{server} cannot be looked at: {cause}")]
pub struct GatherError {
    /// The API server's URL.
    pub server: String,
    /// The reason.
    pub cause: ApiError,
}

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes' kubelets are looked at; all if `None`.
    pub nodes: Option<usize>,
    /// How many kubelets are asked at once.
    pub concurrency: usize,
    /// How long one call may take.
    pub deadline: Duration,
    /// CA certificates of kubelets in DER; those of the kubeconfig if there are none.
    pub kubelet_authorities: Vec<Vec<u8>>,
    /// What time it is here.
    pub clock: Clock,
    /// Whether the dry run as another node is made.
    pub impersonate: bool,
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Progress {
    /// Kubelets that were asked, of how many; nothing before they are known.
    pub fn kubelets(&self) -> Option<(usize, usize)> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed), total))
    }
}

/// Asks for all that the checks need.
pub(super) async fn gather(
    connection: &Connection,
    options: &Options,
    progress: &Progress,
) -> Result<Facts, GatherError> {
    let reader = Reader {
        client: connection.writes.clone(),
        deadline: options.deadline,
        clock: options.clock.clone(),
    };
    // First, and alone: whoever cannot ask this cannot ask anything, and the clock is compared
    // while nothing else is going on.
    let version = version_and_clock::version(&reader).await;
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
    let (workloads, approvers, api_servers, autoscalers) = tokio::join!(
        workloads::workloads(&reader),
        approval_rights::approvers(&reader),
        workloads::api_servers(&reader),
        workloads::autoscalers(&reader),
    );
    let warden = objects::warden_lease(&reader, &workloads).await;
    let (kubelets, restriction) = tokio::join!(
        kubelets::kubelets(&reader, connection, options, nodes.as_deref(), progress),
        node_restriction::restriction(connection, options, nodes.as_deref()),
    );
    Ok(Facts {
        server: connection.server(),
        now: options.clock.wall(),
        clock,
        version,
        service_cidrs,
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
