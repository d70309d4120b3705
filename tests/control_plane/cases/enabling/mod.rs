//! `deploy/enable/ansible` on a real API server with csr-warden: enabled, repeated, and disabled.

mod kubelet;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use self::kubelet::Kubelet;
use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::Cluster;
use control_plane::ports;

const PLAYBOOK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/enable/ansible/playbook.yml"
);

/// The configuration that kubeadm writes, with an administrator's comment.
const CONFIG: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
# do not touch: asked for by the storage team
evictionHard: {memory.available: 200Mi}
kind: KubeletConfiguration
rotateCertificates: true
";
const ON: &str = "serverTLSBootstrap: true\n";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("enabling_by_ansible", Needs::Ansible, enabling_by_ansible),
        Case::new("enabling_metrics_server", Needs::Nothing, metrics_server),
    ]
}

/// The playbook and its inventory of two nodes.
struct Playbook {
    cluster_dir: PathBuf,
    inventory: PathBuf,
}

/// The result of a run.
#[derive(Debug)]
struct Run {
    succeeded: bool,
    output: String,
}

impl Run {
    /// Returns the number of changed tasks on a node. `None` if it was not reached.
    fn changed(&self, node: &str) -> Option<u32> {
        let recap = self.output.split_once("PLAY RECAP")?.1;
        let line = recap.lines().find(|line| line.starts_with(node))?;
        let (_, rest) = line.split_once("changed=")?;
        rest.split_whitespace().next()?.parse().ok()
    }

    fn expect(&self, changed: [Option<u32>; 2]) -> Result<()> {
        let found = ["node-1", "node-2"].map(|node| self.changed(node));
        ensure!(
            found == changed,
            "expected {changed:?} changes, found {found:?}\n{}",
            self.output
        );
        Ok(())
    }
}

impl Playbook {
    fn new(cluster: &Cluster, assets: &Assets, kubelets: &[&Kubelet]) -> Result<Self> {
        let hosts: serde_json::Map<String, Value> = kubelets
            .iter()
            .map(|kubelet| {
                // Without a service manager, the program reports when it is done.
                let restart = format!(
                    "exec 3<>/dev/tcp/127.0.0.1/{} && read -r done <&3 && {{ echo \"$done\"; [ \"$done\" = done ]; }}",
                    kubelet.restarter.port()
                );
                let vars = json!({
                    "kubelet_serving_certificates_config_file": kubelet.config,
                    "kubelet_serving_certificates_address": kubelet.address.ip(),
                    "kubelet_serving_certificates_port": kubelet.address.port(),
                    "kubelet_serving_certificates_restart_command": ["bash", "-c", restart],
                });
                (kubelet.name.to_owned(), vars)
            })
            .collect();
        let inventory = json!({"all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                "ansible_become": false,
                "kubelet_serving_certificates_ca_file": cluster.authority().pair().cert,
                "kubelet_serving_certificates_kubectl":
                    [assets.kubectl, "--kubeconfig", cluster.admin_kubeconfig()],
            },
            "children": {
                "kube_control_plane": {"hosts": {"node-1": {}}},
                "kube_node": {"hosts": hosts},
            },
        }});
        let file = cluster.dir().join("inventory.json");
        std::fs::write(&file, inventory.to_string())?;
        Ok(Self {
            cluster_dir: cluster.dir().to_owned(),
            inventory: file,
        })
    }

    async fn run(&self, vars: Value) -> Result<Run> {
        let mut command = Command::new("ansible-playbook");
        command
            .arg("--inventory")
            .arg(&self.inventory)
            .args(["--extra-vars", &vars.to_string(), PLAYBOOK])
            .envs([("LC_ALL", "C.UTF-8"), ("ANSIBLE_NOCOLOR", "1")])
            .env("ANSIBLE_HOME", self.cluster_dir.join("ansible"));
        let output = tokio::task::spawn_blocking(move || command.output())
            .await?
            .context("start ansible-playbook")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Run {
            succeeded: output.status.success(),
            output: text(&output.stdout) + &text(&output.stderr),
        })
    }

    async fn succeeds(&self, vars: Value) -> Result<Run> {
        let run = self.run(vars).await?;
        ensure!(run.succeeded, "{}", run.output);
        Ok(run)
    }
}

async fn in_the_cluster(cluster: &Cluster) -> Result<String> {
    cluster
        .config_map("kube-system", "kubelet-config", "kubelet")
        .await
}

/// Marks the Deployment as rolled out, because there are no Pods here.
async fn rolled_out(cluster: &Cluster) -> Result<()> {
    let status = json!({"status": {
        "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1,
    }})
    .to_string();
    let deployment = ["patch", "deployment", "csr-warden", "-n", "kube-system"];
    let patch = ["--subresource=status", "--type=merge", "-p", &status];
    cluster.kubectl(&[&deployment[..], &patch].concat()).await?;
    Ok(())
}

async fn enabling_by_ansible(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let cluster = &test_cluster.cluster;
    let misspelled = format!("{CONFIG}serverTLSBoostrap: true\n");
    let literal = format!("--from-literal=kubelet={misspelled}");
    let create = ["create", "configmap", "kubelet-config", "-n", "kube-system"];
    cluster
        .kubectl(&[&create[..], &[&literal]].concat())
        .await?;
    rolled_out(cluster).await?;
    let [port] = ports::free::<1>()?;
    let [ip_1, ip_2] = [21, 22].map(|last| Ipv4Addr::new(10, 78, 0, last));
    let one = Kubelet::start(cluster, "node-1", ip_1, port, &misspelled).await?;
    let two = Kubelet::start(cluster, "node-2", ip_2, port, CONFIG).await?;
    let playbook = Playbook::new(cluster, &assets, &[&one, &two])?;
    let restarts = || [one.restarts(), two.restarts()];

    // Without an approver, nothing changes.
    let absent = json!(["deployment/absent", "-n", "kube-system"]);
    let run = playbook
        .run(json!({"kubelet_serving_certificates_approver": absent}))
        .await?;
    ensure!(!run.succeeded, "{}", run.output);
    run.expect([Some(0), None])?;
    ensure!(in_the_cluster(cluster).await? == misspelled);
    ensure!(one.read()? == misspelled);

    // The approver is down: the first node gets no certificate, and the second is not changed.
    let run = playbook
        .run(json!({"kubelet_serving_certificates_timeout": 2}))
        .await?;
    ensure!(!run.succeeded, "{}", run.output);
    ensure!(
        run.output
            .contains("the kubelet of node-1 shows no certificate"),
        "{}",
        run.output
    );
    let enabled = format!("{CONFIG}{ON}");
    ensure!(in_the_cluster(cluster).await? == enabled);
    ensure!(one.read()? == enabled, "{}", one.read()?);
    ensure!(two.read()? == CONFIG);
    ensure!(restarts() == [1, 0], "{:?}", restarts());

    // The approver is up. Completed steps are not repeated.
    let mut daemon = test_cluster.installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    playbook
        .succeeds(json!({}))
        .await?
        .expect([Some(0), Some(2)])?;
    ensure!(two.read()? == enabled, "{}", two.read()?);
    ensure!(restarts() == [1, 1], "{:?}", restarts());

    playbook
        .succeeds(json!({}))
        .await?
        .expect([Some(0), Some(0)])?;
    ensure!(restarts() == [1, 1], "{:?}", restarts());

    // Disabled again.
    let back = json!({"kubelet_serving_certificates_state": "absent"});
    playbook
        .succeeds(back.clone())
        .await?
        .expect([Some(3), Some(2)])?;
    ensure!(in_the_cluster(cluster).await? == CONFIG);
    ensure!(one.read()? == CONFIG && two.read()? == CONFIG);
    ensure!(restarts() == [2, 2], "{:?}", restarts());
    playbook.succeeds(back).await?.expect([Some(0), Some(0)])?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// The component adds its flag to metrics-server and keeps the others.
async fn metrics_server(assets: Arc<Assets>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let component = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/enable/metrics-server/kustomization.yaml"
    );
    std::fs::create_dir(dir.path().join("verified"))?;
    std::fs::copy(component, dir.path().join("verified/kustomization.yaml"))?;
    // The relevant part of components.yaml in a release of metrics-server.
    let container = json!({"name": "metrics-server", "args": ["--secure-port=10250"]});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "metrics-server", "namespace": "kube-system"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    });
    std::fs::write(dir.path().join("components.yaml"), deployment.to_string())?;
    std::fs::write(
        dir.path().join("kustomization.yaml"),
        "resources: [components.yaml]\ncomponents: [verified]\n",
    )?;
    let built = Command::new(&assets.kubectl)
        .arg("kustomize")
        .arg(dir.path())
        .output()?;
    let error = String::from_utf8_lossy(&built.stderr);
    ensure!(built.status.success(), "{error}");
    let built: Value = serde_saphyr::from_str(std::str::from_utf8(&built.stdout)?)
        .map_err(|error| anyhow!("{error}"))?;
    let args = built.pointer("/spec/template/spec/containers/0/args");
    let expected = json!([
        "--secure-port=10250",
        "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
    ]);
    ensure!(args == Some(&expected), "{built}");
    Ok(())
}
