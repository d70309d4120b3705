//! Direct access to etcd, over its JSON gateway.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::daemon::http_post;

/// A client of etcd.
#[derive(Clone, Copy, Debug)]
pub struct Store(SocketAddr);

impl Store {
    /// Connects to the etcd at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Compacts all old revisions.
    pub async fn compact(&self) -> Result<()> {
        let present = self.call("range", &json!({"key": text("\0")})).await?;
        let revision = present.pointer("/header/revision").context("revision")?;
        self.call("compaction", &json!({"revision": revision}))
            .await
            .map(|_| ())
    }

    /// Writes a Node, including metadata that the API server does not accept from clients. The API
    /// server can read JSON (`--storage-media-type`).
    pub async fn put_node(&self, name: &str, node: &Value) -> Result<()> {
        let order = json!({"key": text(&node_key(name)), "value": text(&node.to_string())});
        self.call("put", &order).await.map(|_| ())
    }

    /// Removes a Node, even with finalizers.
    pub async fn remove_node(&self, name: &str) -> Result<()> {
        let order = json!({"key": text(&node_key(name))});
        self.call("deleterange", &order).await.map(|_| ())
    }

    async fn call(&self, what: &str, order: &Value) -> Result<Value> {
        let answer = http_post(self.0, &format!("/v3/kv/{what}"), &order.to_string()).await?;
        ensure!(answer.status == 200, "etcd, {what}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }
}

/// Returns the key of a Node. The prefix is historical (kubernetes
/// `pkg/registry/core/rest/storage_core.go`).
fn node_key(name: &str) -> String {
    format!("/registry/minions/{name}")
}

fn text(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}
