//! What is below the API server: etcd, over its JSON gateway.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::daemon::http_post;

/// An etcd.
#[derive(Clone, Copy, Debug)]
pub struct Store(SocketAddr);

impl Store {
    /// The etcd that serves clients here.
    pub fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Has it forget everything but the present.
    pub async fn compact(&self) -> Result<()> {
        let present = self.call("range", &json!({"key": text("\0")})).await?;
        let revision = present.pointer("/header/revision").context("revision")?;
        self.call("compaction", &json!({"revision": revision}))
            .await
            .map(|_| ())
    }

    /// Writes a Node as it stands, with the times and marks that the API server would not take from
    /// anybody. JSON is one of the forms in which it keeps objects (`--storage-media-type`).
    pub async fn put_node(&self, name: &str, node: &Value) -> Result<()> {
        let order = json!({"key": text(&node_key(name)), "value": text(&node.to_string())});
        self.call("put", &order).await.map(|_| ())
    }

    /// Removes a Node, whatever holds it.
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

/// Nodes have had another name once (kubernetes `pkg/registry/core/rest/storage_core.go`).
fn node_key(name: &str) -> String {
    format!("/registry/minions/{name}")
}

fn text(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}
