//! The cluster of docs/tutorials/metrics-server-and-hpa.md, with the parts of Kubernetes that run on their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;
use tokio::task::AbortHandle;

use crate::BINARY;
use crate::cases::test_cluster::SOON;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::daemon::Daemon;
use control_plane::extension_api_server::ExtensionApiServer;
use control_plane::hollow_nodes::{HollowNode, HollowNodes};
use control_plane::manifests::{ROOT, objects};
use control_plane::process::Process;
use control_plane::prometheus::Prometheus;
use control_plane::{POLL_INTERVAL, netns, pod};

/// The lifetime of certificates, short enough to see a rotation. A kubelet renews at 70 to 90 % of
/// the lifetime, and the signer backdates by 5 minutes.
pub const CERTIFICATE: &str = "80s";

/// The node of the API server.
const CONTROL: (&str, Ipv4Addr) = ("control-1", netns::ADDRESS);
const WORKER: (&str, Ipv4Addr) = ("node-1", Ipv4Addr::new(192, 0, 2, 11));
const MANIFESTS: &str = include_str!("cluster.yaml");
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The relevant part of kubeadm's manifest.
const API_SERVER: &str = include_str!("kube-apiserver.yaml");
const VERIFY: &str = "--kubelet-certificate-authority=";

pub struct StoryCluster {
    // In the order of dropping: clients of the cluster before the cluster.
    scheduler: AbortHandle,
    daemon: Option<Daemon>,
    extensions: [Process; 2],
    prometheus: Prometheus,
    machines: [HollowNode; 2],
    home: tempfile::TempDir,
    verifies: bool,
    cluster: Cluster,
}

impl Drop for StoryCluster {
    fn drop(&mut self) {
        self.scheduler.abort();
    }
}

impl StoryCluster {
    pub async fn start(assets: &Assets) -> Result<Self> {
        let options = Options {
            advertise: Some(netns::ADDRESS),
            signing_duration: Some(CERTIFICATE.into()),
            workloads: true,
            ..Options::default()
        };
        let cluster = Cluster::start(assets, options).await?;
        cluster.apply(MANIFESTS).await?;
        let prometheus = prometheus(&cluster).await?;
        let metrics_server = ExtensionApiServer {
            name: "metrics-server",
            namespace: "kube-system",
            program: &assets.metrics_server,
            group: "metrics.k8s.io",
            kubeconfig: "kubeconfig",
            places: &[],
        };
        let rules = cluster.config_map("monitoring", "adapter-config", "config.yaml");
        let adapter_config = cluster.dir().join("adapter.yaml");
        std::fs::write(&adapter_config, rules.await?)?;
        let adapter = ExtensionApiServer {
            name: "prometheus-adapter",
            namespace: "monitoring",
            program: &assets.prometheus_adapter,
            group: "custom.metrics.k8s.io",
            kubeconfig: "lister-kubeconfig",
            places: &[
                (
                    "/etc/adapter/config.yaml",
                    adapter_config.display().to_string(),
                ),
                (
                    "http://prometheus.monitoring.svc:9090",
                    format!("http://{}", prometheus.address()),
                ),
            ],
        };
        let extensions = [
            metrics_server.start(&cluster).await?,
            adapter.start(&cluster).await?,
        ];
        let config = cluster.config_map("kube-system", "kubelet-config", "kubelet");
        let config = config.await?;
        let all = HollowNodes::new(&cluster)?;
        let start = |(name, address)| all.start(assets, &cluster, name, address, &config);
        let mut machines = [start(CONTROL)?, start(WORKER)?];
        for machine in &mut machines {
            joined(&cluster.admin(), machine).await?;
        }
        let label = "node-role.kubernetes.io/control-plane=";
        cluster
            .kubectl(&["label", "node", CONTROL.0, label])
            .await?;
        std::fs::write(machines[0].manifest(), API_SERVER)?;

        let home = tempfile::tempdir()?;
        let programs = home.path().join("bin");
        std::fs::create_dir(&programs)?;
        all.ssh(&programs)?;
        for (name, program) in [
            ("csr-warden", Path::new(BINARY)),
            ("kubectl", cluster.kubectl_path()),
            ("helm", &assets.helm),
        ] {
            symlink(program, programs.join(name))?;
        }
        symlink(Path::new(ROOT).join("deploy"), home.path().join("deploy"))?;
        Ok(Self {
            scheduler: tokio::spawn(schedule(cluster.admin())).abort_handle(),
            daemon: None,
            extensions,
            prometheus,
            machines,
            home,
            verifies: false,
            cluster,
        })
    }

    /// Runs a script as a user does. Returns true for success, and all output.
    pub async fn shell(&self, script: &str) -> Result<(bool, String)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.home.path().join("bin")];
        paths.extend(std::env::split_paths(&path));
        let mut command = Command::new("bash");
        command
            .args(["-e", "-u", "-o", "pipefail", "-c"])
            .arg(format!("exec 2>&1\n{script}"))
            .current_dir(self.home.path())
            .stdin(std::process::Stdio::null())
            .env_clear()
            .env("PATH", std::env::join_paths(paths)?)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.cluster.admin_kubeconfig())
            .env(
                "PROMETHEUS",
                format!("http://{}", self.prometheus.address()),
            );
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), said))
    }

    /// Does what a cluster does after a step: a Pod runs its program, and a control-plane node
    /// restarts its API server.
    pub async fn follow(&mut self, script: &str) -> Result<()> {
        if script.contains("helm install csr-warden") {
            let (_, text) = self
                .shell("helm get manifest csr-warden -n kube-system")
                .await?;
            let (cluster, objects) = (&self.cluster, objects(&text)?);
            let pod = pod::start(
                cluster,
                Path::new(BINARY),
                &objects,
                "csr-warden",
                CONTROL.1,
            );
            self.daemon = Some(pod.await?);
        }
        let manifest = std::fs::read_to_string(self.machines[0].manifest())?;
        if !self.verifies && manifest.contains(VERIFY) {
            self.verifies = true;
            let ca = self.cluster.authority().pair().cert;
            let api_server = &mut self.cluster.api_server;
            let args = &mut api_server.launch_mut().args;
            args.push(format!("{VERIFY}{}", ca.display()).into());
            api_server.kill()?;
            api_server.start()?;
            self.cluster.ready(START_DEADLINE).await?;
        }
        Ok(())
    }

    /// Checks that all events of the story have happened, and that csr-warden exits cleanly.
    pub async fn end(mut self) -> Result<()> {
        ensure!(
            self.verifies,
            "in the end the API server does not verify kubelets"
        );
        let daemon = self.daemon.as_mut().context("it is not installed")?;
        daemon.sigterm(Duration::from_secs(5)).await?;
        Ok(())
    }

    /// Returns the log tails of all processes.
    pub fn logs(&self) -> String {
        let [one, two] = &self.machines;
        let mut logs = vec![one.kubelet.log_tail(), two.kubelet.log_tail()];
        logs.extend(self.extensions.iter().map(|one| one.log_tail()));
        logs.extend(self.daemon.iter().map(|one| one.process.log_tail()));
        logs.join("\n")
    }
}

/// Starts a Prometheus that scrapes kubelets and csr-warden, and verifies kubelets with the
/// cluster's CA. Debian's package has no discovery of Nodes.
async fn prometheus(cluster: &Cluster) -> Result<Prometheus> {
    let target = |(name, address): (&str, Ipv4Addr)| json!({"targets": [format!("{address}:10250")], "labels": {"instance": name}});
    let kubelets = json!({
        "job_name": "kubelets",
        "scheme": "https",
        "metrics_path": "/metrics/resource",
        "tls_config": {"ca_file": cluster.authority().pair().cert},
        "authorization": {"credentials": cluster.token("monitoring", "prometheus").await?},
        "static_configs": [target(CONTROL), target(WORKER)],
    });
    Prometheus::start(cluster.dir(), METRICS, &json!({}), vec![kubelets])
}

/// Waits until the Node is ready.
async fn joined(admin: &Client, machine: &mut HollowNode) -> Result<()> {
    let nodes = Api::<Node>::all(admin.clone());
    let begun = Instant::now();
    loop {
        machine.kubelet.must_run()?;
        let node = nodes.get_opt(machine.name()).await?;
        let conditions = node.and_then(|node| node.status?.conditions);
        let ready = conditions.iter().flatten();
        if ready
            .clone()
            .any(|one| one.type_ == "Ready" && one.status == "True")
        {
            return Ok(());
        }
        let log = machine.kubelet.log_tail();
        ensure!(begun.elapsed() < SOON, "{conditions:?}\n{log}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Acts as kube-scheduler: Pods of the cluster go to the control-plane node, and others to the
/// worker.
async fn schedule(admin: Client) {
    let all = Api::<Pod>::all(admin.clone());
    let waiting = ListParams::default().fields("spec.nodeName=");
    loop {
        let pods = all.list(&waiting).await.map(|list| list.items);
        for pod in pods.unwrap_or_default() {
            let (Some(name), Some(namespace)) = (pod.metadata.name, pod.metadata.namespace) else {
                continue;
            };
            let node = if namespace == "kube-system" {
                CONTROL.0
            } else {
                WORKER.0
            };
            let binding = json!({
                "metadata": {"name": name}, "target": {"kind": "Node", "name": node},
            });
            let pods = Api::<Pod>::namespaced(admin.clone(), &namespace);
            let params = PostParams::default();
            // It may be deleted or bound meanwhile. The next iteration sees it.
            let _: kube::Result<serde_json::Value> = pods
                .create_subresource("binding", &name, &params, &binding)
                .await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
