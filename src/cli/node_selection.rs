//! Selection of Nodes by name or label.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::cluster::connection::Connection;
use crate::cluster::error::describe;

/// Flags that select Nodes.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeSelection {
    /// Names of the Nodes to list [default: all, and requests of other requestors]
    #[arg(value_name = "NODE", conflicts_with = "selector")]
    nodes: Vec<String>,
    /// List only Nodes with these labels, as in kubectl
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
}

/// The selected Nodes; `None` for all, and for requestors that are no nodes.
#[derive(Debug)]
pub(super) struct Selected(Option<BTreeSet<String>>);

impl NodeSelection {
    /// Reads the names of the selected Nodes. The API server applies the labels.
    pub(super) async fn select(&self, connection: &Connection) -> Result<Selected> {
        let Some(selector) = &self.selector else {
            let names = self.nodes.iter().map(|name| bare(name).to_owned());
            return Ok(Selected((!self.nodes.is_empty()).then(|| names.collect())));
        };
        let nodes: Api<Node> = Api::all(connection.writes.clone());
        let params = ListParams::default().labels(selector);
        let listed = nodes.list_metadata(&params).await;
        let listed = listed
            .map_err(|error| anyhow::anyhow!(describe(&error)))
            .with_context(|| format!("cannot select Nodes by `{selector}`"))?;
        let names = listed.items.iter().map(|node| node.name_any());
        Ok(Selected(Some(names.collect())))
    }

    /// Checks that each named Node was found, itself or in a request.
    pub(super) fn check<'a>(&self, found: impl Iterator<Item = &'a str>) -> Result<()> {
        let found: BTreeSet<&str> = found.collect();
        let absent = self.nodes.iter().map(|name| bare(name));
        let absent: Vec<&str> = absent.filter(|name| !found.contains(name)).collect();
        ensure!(
            absent.is_empty(),
            "no Node and no request of one is named {}",
            absent.join(", ")
        );
        Ok(())
    }
}

/// The name, which kubectl writes as `node/NAME` too.
fn bare(name: &str) -> &str {
    let prefixes = ["node/", "nodes/"];
    let bare = prefixes.iter().find_map(|kind| name.strip_prefix(kind));
    bare.unwrap_or(name)
}

impl Selected {
    /// Returns true if the Node of this name is selected. A requestor that is no node has none.
    pub(super) fn has(&self, node: Option<&str>) -> bool {
        let Some(selected) = &self.0 else { return true };
        node.is_some_and(|node| selected.contains(node))
    }
}
