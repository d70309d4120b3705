//! An embedded API server, and commands on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use apiserver_sim::{Options, Server};
use assert_cmd::cargo::CommandCargoExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An embedded API server with its administrator. It stops when dropped.
pub(crate) struct Embedded {
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
    pub(crate) admin: Client,
    pub(crate) dir: TempDir,
}

impl Embedded {
    pub(crate) fn start() -> Embedded {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let (server, admin) = runtime.block_on(async {
            let server = Server::start(Options::default()).await.unwrap();
            let kubeconfig = server.kubeconfig("admin", &["system:masters"]).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            (server, Client::try_from(config.unwrap()).unwrap())
        });
        Embedded {
            runtime,
            server,
            admin,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Creates a Node with this label and an address.
    pub(crate) fn node(&self, name: &str, label: &str, address: &str) {
        let node = json!({
            "metadata": {"name": name, "labels": {label: ""}},
            "status": {"addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": address},
            ]},
        });
        let node: Node = serde_json::from_value(node).unwrap();
        let nodes = Api::all(self.admin.clone());
        let params = PostParams::default();
        self.runtime.block_on(nodes.create(&params, &node)).unwrap();
    }

    /// The administrator's kubeconfig, as JSON.
    pub(crate) fn kubeconfig(&self) -> Value {
        let kubeconfig = self.server.kubeconfig("admin", &["system:masters"]);
        serde_json::to_value(kubeconfig.unwrap()).unwrap()
    }

    /// Writes a kubeconfig.
    pub(crate) fn file(&self, kubeconfig: &Value) -> PathBuf {
        let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig.clone()).unwrap();
        let text = serde_json::to_string(&kubeconfig).unwrap();
        let file = tempfile::Builder::new().tempfile_in(self.dir.path());
        let (_, path) = file.unwrap().keep().unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A command of the administrator, independent of the environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let kubeconfig = self.file(&self.kubeconfig());
        command(&kubeconfig, args)
    }

    /// A daemon that writes nothing, with these further flags.
    pub(crate) fn dry_run(&self, args: &[&str]) -> Command {
        let fixed = [
            "run",
            "--enforcement=DryRun",
            "--leader-elect=false",
            "--log-format=text",
            "--bind-address=127.0.0.1:0",
        ];
        self.command(&[&fixed, args].concat())
    }
}

/// A command with this kubeconfig, independent of the environment.
pub(crate) fn command(kubeconfig: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("csr-warden").unwrap();
    command.args(args).arg("--kubeconfig").arg(kubeconfig);
    for variable in [
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
        "KUBECONFIG",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Exit code, standard output and standard error.
pub(crate) fn ran(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Parses the output as JSON, which must match its published schema.
pub(crate) fn json_of(schema: &str, text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let path = format!("docs/schemas/{schema}.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(&value) {
        panic!("{error}: {text}");
    }
    value
}
