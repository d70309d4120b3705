//! `csr-warden doctor` judges every Node of an embedded cluster, and the policy lines that it prints let
//! through what they say.

use std::path::PathBuf;
use std::process::{Command, Output};

use apiserver_sim::{Options, Server};
use assert_cmd::cargo::CommandCargoExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The virtual address of the API server.
const VIP: &str = "10.50.0.100";
/// The head of a policy.
const HEAD: &str = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: mine}\n";
const LABEL: &str = "node-role.kubernetes.io/control-plane";

/// An embedded API server with Nodes, and files for it.
struct Cluster {
    runtime: Runtime,
    server: Server,
    admin: Client,
    dir: TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let (server, admin) = runtime.block_on(async {
            let server = Server::start(Options::default()).await.unwrap();
            let kubeconfig = server.kubeconfig("admin", &["system:masters"]).unwrap();
            (server, client(kubeconfig).await)
        });
        Cluster {
            runtime,
            server,
            admin,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Creates a Node with these addresses, each as `Type value`.
    fn node(&self, name: &str, control_plane: bool, addresses: &[&str]) {
        let addresses = addresses.iter().map(|one| {
            let (kind, address) = one.split_once(' ').unwrap();
            json!({"type": kind, "address": address})
        });
        let labels = if control_plane {
            json!({LABEL: ""})
        } else {
            json!({})
        };
        let node = json!({
            "metadata": {"name": name, "labels": labels},
            "status": {"addresses": addresses.collect::<Vec<_>>()},
        });
        let node: Node = serde_json::from_value(node).unwrap();
        let nodes = Api::all(self.admin.clone());
        let params = PostParams::default();
        self.runtime.block_on(nodes.create(&params, &node)).unwrap();
    }

    /// Publishes the virtual address in `kube-public/cluster-info`.
    fn publish_vip(&self) {
        let cluster = json!({"server": format!("https://{VIP}:6443")});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "contexts": [], "users": [],
            "clusters": [{"name": "", "cluster": cluster}],
        });
        let patch = json!({"data": {"kubeconfig": kubeconfig.to_string()}});
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), "kube-public");
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        let patched = maps.patch("cluster-info", &params, &patch);
        self.runtime.block_on(patched).unwrap();
    }

    fn doctor_as(&self, user: &str, groups: &[&str], args: &[&str]) -> Output {
        let kubeconfig = self.server.kubeconfig(user, groups).unwrap();
        let file = self.file(user, &serde_saphyr::to_string(&kubeconfig).unwrap());
        Command::cargo_bin("csr-warden")
            .unwrap()
            .args(["doctor", "--kubeconfig"])
            .arg(file)
            .args(args)
            .output()
            .unwrap()
    }

    fn doctor(&self, args: &[&str]) -> (i32, String) {
        let output = self.doctor_as("admin", &["system:masters"], args);
        let error = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap();
        assert_ne!(code, 2, "{error}");
        (code, String::from_utf8(output.stdout).unwrap())
    }

    fn verdicts(&self, args: &[&str]) -> Value {
        let (_, text) = self.doctor(&[args, &["-o", "json"]].concat());
        let report: Value = serde_json::from_str(&text).unwrap();
        report["nodeVerdicts"].clone()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

async fn client(kubeconfig: Kubeconfig) -> Client {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// The verdict on each Node, in the order of the report.
fn rows(verdicts: &Value) -> Vec<(&str, &str)> {
    let items = verdicts["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let node = item["node"].as_str().unwrap();
            (node, item["verdict"].as_str().unwrap_or("none"))
        })
        .collect()
}

#[test]
fn every_node_is_judged_and_the_lines_let_the_rest_through() {
    let cluster = Cluster::start();
    cluster.publish_vip();
    let vip = format!("InternalIP {VIP}");
    cluster.node(
        "cp-1",
        true,
        &["Hostname cp-1", "InternalIP 10.50.0.1", &vip],
    );
    cluster.node("w-1", false, &["Hostname w-1", "InternalIP 10.50.0.11"]);
    cluster.node("w-2", false, &["Hostname w-2", "InternalIP 10.50.0.12"]);
    let taken = "ExternalIP 10.50.0.12";
    cluster.node(
        "w-3",
        false,
        &["Hostname w-3", "InternalIP 10.50.0.13", taken],
    );
    cluster.node(
        "w-4",
        false,
        &["Hostname registry", "InternalIP 10.50.0.14"],
    );
    cluster.node(
        "w-5",
        false,
        &["Hostname w-5", "InternalIP 10.50.0.15", &vip],
    );
    cluster.node("w-6", false, &["Hostname w-6"]);

    let verdicts = cluster.verdicts(&[]);
    let expected = [
        ("w-5", "Deny"),
        ("cp-1", "Wait"),
        ("w-2", "Wait"),
        ("w-3", "Wait"),
        ("w-4", "Wait"),
        ("w-6", "none"),
        ("w-1", "Approve"),
    ];
    assert_eq!(rows(&verdicts), expected, "{verdicts:#}");
    let contested = &verdicts["contested"][0];
    assert_eq!(contested["claimed"], "IP:10.50.0.12");
    assert_eq!(contested["nodes"], json!(["w-2", "w-3"]));
    let lines = verdicts["policyLines"].as_array().unwrap();
    let fields: Vec<&Value> = lines.iter().map(|line| &line["field"]).collect();
    assert_eq!(fields, ["protected.allowed"]);

    let (code, text) = cluster.doctor(&[]);
    assert_eq!(code, 1, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
    for row in [
        "w-5    Deny      SanApiServerIdentity",
        "w-6    <none>    sends no request: its Node has no IP address",
        "1 more Node: Approve",
        "IP:10.50.0.12: w-2, w-3",
    ] {
        assert!(text.contains(row), "no `{row}` in\n{text}");
    }
    // As `sed -n 's/^# //p'` writes it.
    let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
    let policy = lines.collect::<Vec<_>>().join("\n") + "\n";
    let file = cluster.file("policy.yaml", &policy);
    let args = ["--policy", file.to_str().unwrap()];
    let expected = [
        ("w-5", "Deny"),
        ("w-2", "Wait"),
        ("w-3", "Wait"),
        ("w-4", "Wait"),
        ("w-6", "none"),
        ("cp-1", "Approve"),
        ("w-1", "Approve"),
    ];
    let verdicts = cluster.verdicts(&args);
    assert_eq!(rows(&verdicts), expected, "{policy}");
    assert_eq!(verdicts["policyLines"], json!([]));
}

#[test]
fn many_nodes_are_summarized() {
    let cluster = Cluster::start();
    for index in 0..60 {
        let ip = format!("InternalIP 10.51.0.{index}");
        let shared = "InternalIP 127.0.0.9";
        cluster.node(&format!("bad-{index:02}"), false, &[&ip, shared]);
    }
    for index in 0..3 {
        let ip = format!("InternalIP 10.52.0.{index}");
        cluster.node(&format!("good-{index}"), false, &[&ip]);
    }
    let (_, text) = cluster.doctor(&[]);
    let shown = text.lines().filter(|line| line.starts_with("bad-")).count();
    assert_eq!(shown, 50, "{text}");
    for line in ["10 more Nodes not approved", "3 more Nodes: Approve"] {
        assert!(
            text.contains(&format!("\n{line}\n")),
            "no `{line}` in\n{text}"
        );
    }
    let (_, wide) = cluster.doctor(&["-o", "wide"]);
    let rows = wide.lines().filter(|line| line.starts_with("bad-"));
    assert_eq!(rows.count(), 60, "{wide}");
    assert!(wide.contains("\ngood-2   Approve"), "{wide}");
    assert!(
        wide.contains("127.0.0.9 is reserved: a loopback address"),
        "{wide}"
    );
}

/// Names of nodes have up to 253 characters, and a terminal 80 columns.
#[test]
fn long_names_leave_the_text_readable() {
    let cluster = Cluster::start();
    let suffix = format!(
        "{}.corp.example",
        ["x".repeat(60), "y".repeat(60)].join(".")
    );
    for index in 0..12 {
        let own = format!("InternalIP 10.50.0.{}", 10 + index);
        let name = format!("worker-{index:02}.{suffix}");
        cluster.node(&name, index == 0, &[&own, "ExternalIP 192.0.2.1"]);
    }
    let (_, text) = cluster.doctor(&[]);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
    assert!(text.contains("SanContested"), "{text}");
    assert!(text.contains("worker-00.xxx"), "{text}");

    let policy = format!("{HEAD}spec: {{names: {{shared: [192.0.2.1]}}}}\n");
    let file = cluster.file("shared.yaml", &policy);
    let (_, text) = cluster.doctor(&["--policy", file.to_str().unwrap()]);
    assert!(!text.contains("AddressesShared"), "{text}");
    assert!(
        text.contains("shared, as names.shared allows: 1 address"),
        "{text}"
    );
}

/// A missing right is named, and does not keep the Nodes that can be listed from being judged.
#[test]
fn a_missing_right_is_named_and_the_rest_is_judged() {
    let cluster = Cluster::start();
    cluster.node("w-1", false, &["Hostname w-1", "InternalIP 10.50.0.11"]);
    let output = cluster.doctor_as("stranger", &[], &["-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["nodeVerdicts"], Value::Null, "{report:#}");
    let text = report.to_string();
    assert!(text.contains("Nodes cannot be listed"), "{report:#}");
    assert_eq!(output.status.code(), Some(0), "{report:#}");

    cluster.grant_nodes("stranger");
    let output = cluster.doctor_as("stranger", &[], &["-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts = &report["nodeVerdicts"];
    assert_eq!(rows(verdicts), [("w-1", "Approve")], "{report:#}");
    let missing = verdicts["missingEvidence"].to_string();
    for source in ["certificatesigningrequests", "servicecidrs", "namespaces"] {
        assert!(missing.contains(source), "no {source} in {missing}");
    }
}

impl Cluster {
    fn grant_nodes(&self, user: &str) {
        use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
        let role: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "nodes"},
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
        }))
        .unwrap();
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "nodes"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "nodes"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))
        .unwrap();
        let params = PostParams::default();
        self.runtime.block_on(async {
            let roles = Api::all(self.admin.clone());
            roles.create(&params, &role).await.unwrap();
            let bindings = Api::all(self.admin.clone());
            bindings.create(&params, &binding).await.unwrap();
        });
    }
}
