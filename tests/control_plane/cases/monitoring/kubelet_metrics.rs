//! The metrics of a kubelet with a serving certificate.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// As kubelets expose it (`pkg/kubelet/certificate/kubelet.go`).
const EXPOSED: &str = "# TYPE kubelet_certificate_manager_server_ttl_seconds gauge\n\
                       kubelet_certificate_manager_server_ttl_seconds 2.5e+07\n";

/// A server that stops when dropped.
pub struct KubeletMetrics {
    address: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
}

impl KubeletMetrics {
    pub async fn start() -> Result<KubeletMetrics> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/metrics", get(async || EXPOSED));
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        Ok(KubeletMetrics { address, server })
    }

    /// Returns the configuration of a job with one target for each set of labels.
    pub fn job(&self, targets: &[Value]) -> Value {
        let target = |labels| json!({"targets": [self.address.to_string()], "labels": labels});
        let targets: Vec<Value> = targets.iter().map(target).collect();
        json!({"job_name": "kubelet", "static_configs": targets})
    }
}

impl Drop for KubeletMetrics {
    fn drop(&mut self) {
        self.server.abort();
    }
}
