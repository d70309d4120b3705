//! Several clusters of a kubeconfig, examined side by side.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::live::LiveArgs;
use crate::telemetry::printable::printable;

/// Maximum number of clusters that are examined at the same time.
const AT_ONCE: usize = 16;

/// Flags that select several contexts.
#[derive(Clone, Debug, Args)]
pub(super) struct ContextsArgs {
    /// Contexts in the kubeconfig, separated by commas, to report on all of them
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
          conflicts_with_all = ["all_contexts", "context", "cluster", "server"])]
    contexts: Vec<String>,
    /// Report on all contexts in the kubeconfig
    #[arg(long, conflicts_with_all = ["context", "cluster", "server"])]
    all_contexts: bool,
    /// Deadline of one cluster in seconds, with several contexts, 1 to 3600
    #[arg(long, default_value_t = 120, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    context_timeout: u64,
}

/// The report on the cluster of one context.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InContext<T> {
    /// Name of the context.
    pub(super) context: String,
    /// The report; none if the cluster could not be examined.
    pub(super) report: Option<T>,
    /// The reason why it could not be examined.
    pub(super) error: Option<String>,
}

impl ContextsArgs {
    /// Names of the contexts; `None` if no flag selects several.
    pub(super) fn names(&self, live: &LiveArgs) -> Result<Option<Vec<String>>> {
        if !self.all_contexts && self.contexts.is_empty() {
            return Ok(None);
        }
        let wanted = if self.all_contexts {
            live.contexts()?
        } else {
            self.contexts.clone()
        };
        let mut names: Vec<String> = Vec::new();
        for name in wanted {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        ensure!(!names.is_empty(), "the kubeconfig has no context");
        Ok(Some(names))
    }

    /// Examines the clusters side by side, each within the deadline.
    pub(super) async fn examine<T>(
        &self,
        names: Vec<String>,
        examine: impl AsyncFn(&str) -> Result<T>,
    ) -> Vec<InContext<T>> {
        let seconds = self.context_timeout;
        let one = async |context: String| {
            let examined = timeout(Duration::from_secs(seconds), examine(&context)).await;
            let examined = examined.unwrap_or_else(|_| {
                Err(anyhow!("not done within {seconds} s (--context-timeout)"))
            });
            match examined {
                Ok(report) => InContext {
                    context,
                    report: Some(report),
                    error: None,
                },
                Err(error) => InContext {
                    context,
                    report: None,
                    error: Some(format!("{error:#}")),
                },
            }
        };
        let examined = futures::stream::iter(names).map(one);
        examined.buffered(AT_ONCE).collect().await
    }
}

/// Heading of the report on one cluster.
pub(super) fn heading(context: &str) -> String {
    format!("== context {}", printable(context))
}
