//! The cluster that the pages describe: a node with their address, requests with their names, and
//! csr-warden with a Pod that has its log.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::AbortHandle;

use crate::BINARY;
use crate::cases::test_cluster::SOON;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::install::Installation;
use control_plane::kubelet_port::KubeletPort;
use control_plane::manifests::Kustomization;
use control_plane::netns;
use control_plane::node_user::{NewRequest, NodeUser, settled, wait_until_later_than};
use control_plane::{POLL_INTERVAL, decision_log};
use testkit::forge::Recipe;

/// The node whose kubelet the pages contact.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const KUBELET: u16 = 10250;
/// The node of the Pods, and the address of the daemon.
const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const METRICS: u16 = 8080;
/// An address in the network of Services.
const SERVICE: &str = "10.96.0.77";
const README: &str = include_str!("../../../../README.md");
const POLICY: &str = include_str!("../../../../policies/strict.yaml");
const INVENTORY: &str = include_str!("../../../../examples/inventory.yaml");
/// The values of the release in production.
const VALUES: &str =
    "fullnameOverride: csr-warden\nimage: {repository: registry.example.org/csr-warden}\n";
/// The edit that docs/enable.md describes.
const EDITOR: &str = r#"#!/bin/sh
sed -i 's/^\( *\)kubelet: |$/&\n\1  serverTLSBootstrap: true/' "$1"
"#;

pub struct PagesCluster {
    // In the order of dropping: clients of the cluster before the cluster.
    rollouts: AbortHandle,
    _kubelets: Vec<KubeletPort>,
    daemon: Option<Daemon>,
    home: Kustomization,
    helm: PathBuf,
    cluster: Cluster,
}

impl Drop for PagesCluster {
    fn drop(&mut self) {
        self.rollouts.abort();
    }
}

impl PagesCluster {
    pub async fn start(assets: &Assets) -> Result<Self> {
        for address in [NODE, CONTROL] {
            netns::add(address)?;
        }
        let order = "--kubelet-preferred-address-types=InternalIP";
        let options = Options {
            advertise: Some(netns::ADDRESS),
            verify_kubelets: true,
            api_server_args: vec![order.to_owned()],
            ..Options::default()
        };
        let cluster = Cluster::start(assets, options).await?;
        let kubelets = kubelets(&cluster).await?;
        let rollouts = tokio::spawn(roll_out(Api::all(cluster.admin()))).abort_handle();
        let pages_cluster = Self {
            rollouts,
            _kubelets: kubelets,
            daemon: None,
            home: Kustomization::new("")?,
            helm: assets.helm.clone(),
            cluster,
        };
        pages_cluster.write_files()?;
        Ok(pages_cluster)
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes the files that pages name, and the programs.
    fn write_files(&self) -> Result<()> {
        let home = self.home();
        let put = |name: &str, text: &str| std::fs::write(home.join(name), text);
        put("policy.yaml", POLICY)?;
        put("inventory.yaml", INVENTORY)?;
        put("values.yaml", VALUES)?;
        let authority = self.cluster.authority();
        put("ca.crt", &authority.pem())?;
        let pair = authority.serving("metrics", &[], &[])?;
        std::fs::copy(pair.cert, home.join("tls.crt"))?;
        std::fs::copy(pair.key, home.join("tls.key"))?;
        put("editor", EDITOR)?;
        std::fs::set_permissions(home.join("editor"), PermissionsExt::from_mode(0o755))?;
        let programs = home.join("bin");
        std::fs::create_dir(&programs)?;
        for (name, program) in [
            ("csr-warden", Path::new(BINARY)),
            ("kubectl", self.cluster.kubectl_path()),
            ("helm", &self.helm),
        ] {
            std::os::unix::fs::symlink(program, programs.join(name))?;
        }
        Ok(())
    }

    /// Sets the environment of a shell.
    pub fn set_environment(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.home().join("bin")];
        paths.extend(std::env::split_paths(&path));
        command
            .current_dir(self.home())
            .stdin(std::process::Stdio::null())
            .env_clear()
            .env("PATH", std::env::join_paths(paths).unwrap_or(path))
            .env("HOME", self.home())
            .env("KUBECONFIG", self.cluster.admin_kubeconfig())
            .env("KUBE_EDITOR", self.home().join("editor"));
    }

    /// Prepares the cluster for the first block of a page.
    pub async fn begin(&mut self, page: &str, text: &str) -> Result<()> {
        // The page's own kustomization, or that of the README.
        let kustomization = example(text).or_else(|| example(README));
        let kustomization = kustomization.context("no kustomization in the README")?;
        std::fs::write(self.home().join("kustomization.yaml"), kustomization)?;
        // docs/install.md starts and ends without csr-warden.
        if page != "install" && self.daemon.is_none() {
            self.create_nodes().await?;
        }
        Ok(())
    }

    async fn create_nodes(&mut self) -> Result<()> {
        let installation = Installation::apply(&self.cluster, Path::new(BINARY)).await?;
        let mut manifests = vec![
            config_map("kubelet-config", "kubelet", "kind: KubeletConfiguration\n"),
            config_map(
                "kubeadm-config",
                "ClusterConfiguration",
                "kind: ClusterConfiguration\n",
            ),
            json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {"name": "csr-warden", "namespace": "kube-system"},
                "subsets": [{
                    "addresses": [{"ip": CONTROL, "targetRef": {
                        "kind": "Pod", "namespace": "kube-system", "name": "csr-warden",
                    }}],
                    "ports": [{"name": "http", "port": METRICS}],
                }],
            }),
        ];
        for (name, labels) in [
            (
                "csr-warden",
                json!({
                    "app.kubernetes.io/name": "csr-warden",
                    "app.kubernetes.io/instance": "csr-warden",
                }),
            ),
            (
                "kube-controller-manager",
                json!({"component": "kube-controller-manager"}),
            ),
        ] {
            manifests.push(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
                "spec": {
                    "nodeName": "control-1",
                    "serviceAccountName": "csr-warden",
                    "automountServiceAccountToken": false,
                    "containers": [{"name": name, "image": name}],
                },
            }));
        }
        self.node("control-1", &CONTROL.to_string()).await?;
        for manifest in manifests {
            self.cluster.apply(&manifest.to_string()).await?;
        }
        // The API server reaches a Service only at the address of a Pod.
        let pods = Api::<Pod>::namespaced(self.cluster.admin(), "kube-system");
        let status = json!({"status": {"podIP": CONTROL, "podIPs": [{"ip": CONTROL}]}});
        let params = PatchParams::default();
        pods.patch_status("csr-warden", &params, &Patch::Merge(status))
            .await?;
        let at = SocketAddr::from((CONTROL, METRICS));
        let mut daemon = installation.start_at("csr-warden", at, &[])?;
        daemon.wait_ready(SOON).await?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Re-creates everything that a previous block may have removed or decided.
    pub async fn refresh(&self) -> Result<()> {
        let Some(daemon) = &self.daemon else {
            return Ok(());
        };
        let admin = self.cluster.admin();
        let ips = [IpAddr::from(NODE), SERVICE.parse()?];
        let user = self.node("node-1", &NODE.to_string()).await?;
        if self.is_missing("csr", "csr-cr5pd").await? {
            let pem = Recipe::genuine("node-1", &["node-1"], &ips[..1]).pem();
            user.post(&NewRequest::new("csr-cr5pd", pem)).await?;
            settled(&admin, "csr-cr5pd", "Approved").await?;
        }
        if self.is_missing("csr", "csr-x7k2p").await? {
            let pem = Recipe::genuine("node-1", &["node-1"], &ips).pem();
            user.post(&NewRequest::new("csr-x7k2p", pem)).await?;
            settled(&admin, "csr-x7k2p", "Denied").await?;
        }
        if self.is_missing("csr", "csr-w8k5t").await? {
            let late = NodeUser::new(&self.cluster, "late").await?;
            let pem = Recipe::genuine("late", &["late"], &["10.0.0.12".parse()?]).pem();
            late.post(&NewRequest::new("csr-w8k5t", pem)).await?;
            decision_log::expect(daemon.stdout(), "csr-w8k5t", "Wait", &["NodeMissing"]).await?;
        }
        Ok(())
    }

    async fn is_missing(&self, kind: &str, name: &str) -> Result<bool> {
        let get = ["get", kind, name, "--ignore-not-found", "-o", "name"];
        Ok(self.cluster.kubectl(&get).await?.is_empty())
    }

    /// Creates the node with the kubelet that the pages contact.
    async fn node(&self, name: &str, ip: &str) -> Result<NodeUser> {
        let user = NodeUser::new(&self.cluster, name).await?;
        if self.is_missing("node", name).await? {
            let created = user.register().await?;
            let addresses = [format!("Hostname {name}"), format!("InternalIP {ip}")];
            user.report(&addresses).await?;
            wait_until_later_than(&self.cluster.admin(), created).await?;
        }
        Ok(user)
    }
}

/// Returns the first kustomization among the blocks of a page.
fn example(text: &str) -> Option<&str> {
    let blocks = text.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.starts_with("resources: [deploy/"))
}

fn config_map(name: &str, key: &str, text: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": {key: text},
    })
}

/// Starts the kubelets of both nodes. A container's log is that of the process with its name.
async fn kubelets(cluster: &Cluster) -> Result<Vec<KubeletPort>> {
    let logs = cluster.dir().to_owned();
    let answer = move |path: &str| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(container) = path.strip_prefix("/containerLogs/") else {
            return "ok".to_owned();
        };
        let name = container.rsplit('/').next().unwrap_or_default();
        let log = std::fs::read_to_string(logs.join(format!("{name}.log"))).unwrap_or_default();
        let tail = query
            .split('&')
            .find_map(|one| one.strip_prefix("tailLines="));
        match tail.and_then(|tail| tail.parse::<usize>().ok()) {
            Some(tail) => {
                let lines: Vec<&str> = log.lines().collect();
                lines[lines.len().saturating_sub(tail)..].join("\n")
            }
            None => log,
        }
    };
    let mut kubelets = Vec::new();
    for ip in [NODE, CONTROL] {
        let pair = cluster
            .authority()
            .serving(&format!("kubelet-{ip}"), &[], &[ip.into()])?;
        let (chain, key) = (
            std::fs::read(pair.cert)?,
            std::fs::read_to_string(pair.key)?,
        );
        let at = SocketAddr::from((ip, KUBELET));
        kubelets.push(KubeletPort::answering(at, &chain, &key, answer.clone()).await?);
    }
    Ok(kubelets)
}

/// Acts as the Deployment controller: every Deployment is rolled out as soon as it exists.
async fn roll_out(api: Api<Deployment>) {
    let params = PatchParams::default();
    loop {
        let deployments = api.list(&ListParams::default()).await;
        for deployment in deployments.map(|list| list.items).unwrap_or_default() {
            let generation = deployment.metadata.generation;
            let status = deployment.status.unwrap_or_default();
            if status.observed_generation == generation {
                continue;
            }
            let spec = deployment.spec.unwrap_or_default();
            let all = spec.replicas.unwrap_or(1);
            let patch = Patch::Merge(json!({"status": {
                "observedGeneration": generation, "replicas": all, "updatedReplicas": all,
                "readyReplicas": all, "availableReplicas": all,
            }}));
            let (name, namespace) = (deployment.metadata.name, deployment.metadata.namespace);
            let api: Api<Deployment> = Api::namespaced(
                api.clone().into_client(),
                namespace.as_deref().unwrap_or_default(),
            );
            let name = name.as_deref().unwrap_or_default();
            // It may be deleted or changed meanwhile. The next iteration sees it.
            let _ = api.patch_status(name, &params, &patch).await;
        }
        tokio::time::sleep(POLL_INTERVAL.max(Duration::from_millis(100))).await;
    }
}
