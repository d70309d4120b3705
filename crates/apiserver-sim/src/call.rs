//! The context of one resource request, and the state that all requests share.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::watch;

use super::authn::{Tokens, User};
use super::clock::Clock;
use super::entropy::Entropy;
use super::faults::{Fault, FaultInjector};
use super::request_info::{Query, ResourcePath};
use super::selectors::Selector;
use super::store::{Store, Stored};
use super::write_log::WriteLog;

/// The state that all requests share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) injector: Arc<FaultInjector>,
    pub(super) clock: Arc<Clock>,
    pub(super) entropy: Arc<Entropy>,
    pub(super) write_log: Option<Arc<WriteLog>>,
    pub(super) node_restriction: bool,
    pub(super) ended: watch::Receiver<bool>,
}

impl Shared {
    /// Waits until the server shuts down.
    pub(super) async fn until_ended(&self) {
        until_ended(self.ended.clone()).await;
    }
}

/// The context of one request for a resource.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) user: Arc<User>,
    pub(super) path: ResourcePath,
    pub(super) verb: &'static str,
    pub(super) query: Query,
    pub(super) selector: Selector,
    pub(super) accept: Accept,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    /// A fault to inject into the events of a watch.
    pub(super) fault: Option<Fault>,
}

impl Call {
    /// Records the write of this call, if a write log is kept.
    pub(super) fn record(&self, stored: &Stored) {
        if let Some(write_log) = &self.shared.write_log {
            write_log.record(&self.user, &self.path, stored);
        }
    }

    /// Returns a query parameter, empty if it is missing.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1" | "True")
    }

    /// Returns true for a dry run, which stores nothing.
    pub(super) fn dry_run(&self) -> bool {
        self.query.contains_key("dryRun")
    }

    pub(super) fn key(&self, name: &str) -> String {
        if self.path.resource.namespaced {
            format!("{}/{name}", self.path.namespace)
        } else {
            name.to_owned()
        }
    }
}

/// The requested format of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    Json,
    Table,
    /// `PartialObjectMetadata`.
    Metadata,
}

/// Waits until the server shuts down or has been dropped.
pub(super) async fn until_ended(mut ended: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which is the same.
    let _ = ended.wait_for(|ended| *ended).await;
}
