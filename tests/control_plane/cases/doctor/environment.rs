//! The environment that `doctor` examines: kubelets, kubeadm's ConfigMap, the API server's Pod,
//! other approvers, metrics-server and an autoscaler.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use control_plane::cluster::Cluster;
use control_plane::kubelet_port::{KubeletPort, request};
use control_plane::node_user::{NewRequest, NodeUser, issued, wait_until_later_than};

/// The port of all kubelets, so that nodes differ by their address.
const PORT: u16 = 10250;

/// The name of the control-plane node. No kubelet can set its label.
const CONTROL_PLANE: &str = "n1";

/// A node that has joined the cluster.
pub struct Kubelet {
    user: NodeUser,
    /// The address of its port.
    pub port: SocketAddr,
}

impl Kubelet {
    /// Creates its Node as a kubelet does.
    pub async fn join(cluster: &Cluster, name: &str, ip: Ipv4Addr) -> Result<Kubelet> {
        let user = NodeUser::new(cluster, name).await?;
        let created = user.register().await?;
        user.report(&[format!("Hostname {name}"), format!("InternalIP {ip}")])
            .await?;
        if name == CONTROL_PLANE {
            let label = "node-role.kubernetes.io/control-plane=";
            cluster.kubectl(&["label", "node", name, label]).await?;
        }
        wait_until_later_than(&cluster.admin(), created).await?;
        Ok(Kubelet {
            user,
            port: (ip, PORT).into(),
        })
    }

    /// Requests a certificate, and presents it once it is signed. With `by_hand`, an administrator
    /// approves it. Otherwise csr-warden must.
    pub async fn serve(
        &self,
        cluster: &Cluster,
        ips: &[Ipv4Addr],
        by_hand: bool,
    ) -> Result<KubeletPort> {
        let name = &self.user.name;
        let (pem, key) = request(name, &[name], ips)?;
        let asked = format!("csr-{name}");
        self.user.post(&NewRequest::new(&asked, pem)).await?;
        if by_hand {
            cluster.kubectl(&["certificate", "approve", &asked]).await?;
        }
        let chain = issued(&cluster.admin(), &asked).await?;
        KubeletPort::start(self.port, &chain, &key, true).await
    }
}

/// Creates the certificate that a kubelet presents without serverTLSBootstrap.
pub async fn self_signed(ip: Ipv4Addr) -> Result<KubeletPort> {
    let own = rcgen::generate_simple_self_signed([ip.to_string()])?;
    let key = own.signing_key.serialize_pem();
    KubeletPort::start((ip, PORT).into(), own.cert.pem().as_bytes(), &key, false).await
}

/// Presents a certificate that no client can verify, and responds with this error.
pub async fn failing(ip: Ipv4Addr, message: &str) -> Result<KubeletPort> {
    let own = rcgen::generate_simple_self_signed([ip.to_string()])?;
    let key = own.signing_key.serialize_pem();
    let chain = own.cert.pem();
    KubeletPort::failing((ip, PORT).into(), chain.as_bytes(), &key, message).await
}

/// The environment of a cluster.
pub struct Environment<'a>(&'a Cluster);

impl<'a> Environment<'a> {
    pub fn new(cluster: &'a Cluster) -> Environment<'a> {
        Environment(cluster)
    }

    /// Writes kubeadm's kubelet configuration with an additional line.
    pub async fn kubelet_config(&self, line: &str) -> Result<()> {
        let text = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n  x509:\n    \
             clientCAFile: /etc/kubernetes/pki/ca.crt\ncgroupDriver: systemd\n\
             kind: KubeletConfiguration\nrotateCertificates: true\n{line}"
        );
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kubelet-config", "namespace": "kube-system"},
            "data": {"kubelet": text},
        });
        self.apply(&map).await
    }

    /// Creates kubeadm's static Pod of an API server, with these flags.
    pub async fn api_server_pod(&self, flags: &[&str]) -> Result<()> {
        let mut command = vec!["kube-apiserver"];
        command.extend(flags);
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "kube-system"},
        }))
        .await?;
        let labels = json!({"component": "kube-apiserver", "tier": "control-plane"});
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "kube-apiserver-n0",
                "namespace": "kube-system",
                "labels": labels,
            },
            "spec": {"nodeName": CONTROL_PLANE, "containers": [{"name": "a", "image": "kube-apiserver", "command": command}]},
        }))
        .await
    }

    /// Creates an approver that approves every request, with its permissions.
    pub async fn blind_approver(&self) -> Result<()> {
        let image = "registry.example/kubelet-serving-cert-approver:1";
        self.apply(&deployment("approver", image, &[])).await?;
        let group = "certificates.k8s.io";
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "approver"},
            "rules": [
                {
                    "apiGroups": [group],
                    "resources": ["certificatesigningrequests/approval"],
                    "verbs": ["update"],
                },
                {
                    "apiGroups": [group],
                    "resources": ["signers"],
                    "resourceNames": ["kubernetes.io/kubelet-serving"],
                    "verbs": ["approve"],
                },
            ],
        }))
        .await?;
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "approver"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "approver",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "approver", "namespace": "kube-system"},
            ],
        }))
        .await
    }

    /// Creates a metrics-server with `--kubelet-insecure-tls`, and an autoscaler without metrics.
    pub async fn insecure_metrics_server(&self) -> Result<()> {
        let image = "registry.example/metrics-server:v0.9.0";
        let args = ["--secure-port=10250", "--kubelet-insecure-tls", "--v=2"];
        self.apply(&deployment("metrics-server", image, &args))
            .await?;
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        self.apply(&json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"scaleTargetRef": target, "maxReplicas": 4},
        }))
        .await?;
        let condition = json!({"status": {
            "currentMetrics": [],
            "desiredReplicas": 0,
            "conditions": [{
                "type": "ScalingActive",
                "status": "False",
                "reason": "FailedGetResourceMetric",
                "message": "unable to get metrics for resource cpu",
            }],
        }});
        let condition = condition.to_string();
        let patch = [
            "patch",
            "hpa",
            "web",
            "--subresource=status",
            "--type=merge",
        ];
        self.0
            .kubectl(&[&patch, ["-p", &condition].as_slice()].concat())
            .await?;
        Ok(())
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        self.0.apply(&object.to_string()).await
    }
}

fn deployment(name: &str, image: &str, args: &[&str]) -> Value {
    let labels = json!({"app": name});
    let container = json!({"name": "main", "image": image, "args": args});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

/// Runs commands in a shell of an administrator with kubectl.
pub async fn shell(cluster: &Cluster, script: &str) -> Result<()> {
    let kubectl = cluster.kubectl_path();
    let folder = kubectl.parent().context("kubectl's folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-euc", script])
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("KUBECONFIG", cluster.admin_kubeconfig())
        .env("HOME", cluster.dir());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}\n{stderr}");
    Ok(())
}
