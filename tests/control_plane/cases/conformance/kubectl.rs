//! The real kubectl and the real daemon on the embedded API server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use csr_warden::sim::api::{Options, Server};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{client, write_kubeconfig};
use crate::BINARY;
use crate::forge::Recipe;
use crate::harness::assets::Assets;
use crate::harness::daemon::Daemon;
use crate::harness::node_user::{Ask, settled};
use crate::harness::ports;

const SOON: Duration = Duration::from_secs(60);

struct Kubectl<'a> {
    program: &'a Path,
    dir: &'a Path,
}

impl Kubectl<'_> {
    /// Runs it as administrator; its output must have all of this.
    async fn says(&self, args: &[&str], expected: &[&str]) -> Result<()> {
        let mut command = Command::new(self.program);
        command
            .arg("--kubeconfig")
            .arg(self.dir.join("admin.conf"))
            .arg("--cache-dir")
            .arg(self.dir.join("cache"))
            .args(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        println!("$ kubectl {}\n{stdout}{stderr}", args.join(" "));
        ensure!(
            output.status.success(),
            "kubectl {args:?}: {}\n{stderr}",
            output.status
        );
        for text in expected {
            ensure!(
                stdout.contains(text),
                "kubectl {args:?} should say `{text}`:\n{stdout}"
            );
        }
        Ok(())
    }
}

pub async fn works(assets: Arc<Assets>) -> Result<()> {
    let server = Server::start(Options::default()).await?;
    let dir = tempfile::tempdir()?;
    write_kubeconfig(
        &server,
        "kubernetes-admin",
        &["system:masters"],
        &dir.path().join("admin.conf"),
    )?;
    let kubectl = Kubectl {
        program: &assets.kubectl,
        dir: dir.path(),
    };
    node_asks(&server, "node-1", "csr-1").await?;
    node_asks(&server, "node-2", "csr-2").await?;
    let signer = "kubernetes.io/kubelet-serving";
    let said: &[(&[&str], &[&str])] = &[
        (&["version"], &["Server Version: v1.36"]),
        (
            &["api-resources"],
            &[
                "certificatesigningrequests",
                "csr",
                "CertificateSigningRequest",
            ],
        ),
        (
            &["get", "csr"],
            &["NAME", "REQUESTEDDURATION", "csr-1", signer, "Pending"],
        ),
        (
            &["get", "csr", "csr-1", "-o", "yaml"],
            &["username: system:node:node-1"],
        ),
        (
            &["get", "nodes"],
            &["NAME", "STATUS", "ROLES", "node-1", "Unknown"],
        ),
        (
            &["get", "nodes", "-o", "wide"],
            &["INTERNAL-IP", "10.0.0.1"],
        ),
        (
            &["describe", "csr", "csr-1"],
            &["Requesting User:", "system:node:node-1", "Pending"],
        ),
        (
            &["describe", "node", "node-1"],
            &["Name:", "InternalIP:  10.0.0.1"],
        ),
        (&["label", "node", "node-1", "a=b"], &["labeled"]),
        (&["taint", "node", "node-1", "a=b:NoSchedule"], &["tainted"]),
        (&["get", "configmaps", "-A"], &["cluster-info", "DATA"]),
        (&["get", "services,events", "-A"], &["service/kubernetes"]),
        (&["delete", "csr", "csr-2"], &["deleted"]),
        (&["get", "csr", "-o", "json"], &["\"csr-1\""]),
    ];
    for (args, expected) in said {
        kubectl.says(args, expected).await?;
    }
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base");
    let applied = ["apply", "--server-side", "--validate=false", "-k", base];
    kubectl.says(&applied, &["serverside-applied"]).await?;
    kubectl.says(&applied, &["serverside-applied"]).await?;
    server.stop().await;
    Ok(())
}

/// A Node with one address, and a request as its kubelet makes it.
async fn node_asks(server: &Server, node: &str, name: &str) -> Result<()> {
    let client = client(server, &format!("system:node:{node}"), &["system:nodes"]).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let made = serde_json::from_value(json!({"metadata": {"name": node}}))?;
    nodes.create(&PostParams::default(), &made).await?;
    let number = node.rsplit('-').next().context("a number")?;
    let address = format!("10.0.0.{number}");
    let status = json!({"status": {"addresses": [
        {"type": "InternalIP", "address": address},
        {"type": "Hostname", "address": node},
    ]}});
    nodes
        .patch_status(node, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let pem = Recipe::genuine(node, &[node], &[address.parse()?]).pem();
    Ask::new(name, pem).post(&client).await?;
    Ok(())
}

pub async fn daemon_approves(_: Arc<Assets>) -> Result<()> {
    let server = Server::start(Options::default()).await?;
    let dir = tempfile::tempdir()?;
    let kubeconfig = dir.path().join("admin.conf");
    write_kubeconfig(
        &server,
        "kubernetes-admin",
        &["system:masters"],
        &kubeconfig,
    )?;
    let [port] = ports::free::<1>()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let args = [
        "run".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--bind-address={address}"),
    ];
    let binary = Path::new(BINARY);
    let mut daemon = Daemon::start(binary, "embedded", dir.path(), address, args, [])?;
    daemon.wait_ready(SOON).await?;
    node_asks(&server, "node-1", "csr-1").await?;
    let admin = client(&server, "kubernetes-admin", &["system:masters"]).await?;
    let approved: CertificateSigningRequest = settled(&admin, "csr-1", "Approved").await?;
    println!("approved: {:?}", approved.status);
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::all(admin);
    daemon.sigterm(SOON).await?;
    let listed = events.list(&Default::default()).await?;
    println!("{} events", listed.items.len());
    server.stop().await;
    Ok(())
}
