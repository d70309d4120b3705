//! A directory with files in which the command is run, and its result.

use std::path::PathBuf;

use assert_cmd::Command;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tempfile::TempDir;

use testkit::forge::Recipe;

pub const APPROVE: i32 = 0;
pub const DENY: i32 = 1;
pub const ERROR: i32 = 2;
pub const WAIT: i32 = 3;

/// The time of judging, a second after the requests were created.
pub const NOW: &str = "2026-07-24T12:00:01Z";

/// A directory with files in which the command is run.
pub struct Case {
    pub dir: TempDir,
}

/// The result of a command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Case {
    /// Creates a case with `csr.yaml`, a kubelet's request, and `nodes.yaml`, its Node.
    pub fn new() -> Self {
        let case = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        case.yaml("csr.yaml", &csr(&genuine()));
        case.yaml("nodes.yaml", &list(vec![node("node-1", "10.0.0.1")]));
        case
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn yaml(&self, name: &str, object: &Value) -> PathBuf {
        self.file(name, &serde_saphyr::to_string(object).unwrap())
    }

    pub fn json(&self, name: &str, object: &Value) -> PathBuf {
        self.file(name, &serde_json::to_string_pretty(object).unwrap())
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csr-warden"));
        command
            .current_dir(self.dir.path())
            .env_remove("CSR_WARDEN_POLICY")
            .args(["check", "--now", NOW])
            .args(args);
        command
    }

    pub fn check(&self, args: &[&str]) -> Ran {
        ran(&mut self.command(args))
    }

    pub fn check_stdin(&self, args: &[&str], stdin: &str) -> Ran {
        ran(self.command(args).write_stdin(stdin))
    }

    /// Returns the verdict of `csr.yaml` with `nodes.yaml` and one more file.
    pub fn with_evidence(&self, object: &Value) -> Ran {
        self.yaml("evidence.yaml", object);
        self.check(&["csr.yaml", "nodes.yaml", "evidence.yaml"])
    }

    /// Checks that a file with this text causes an error in one sentence that names the file.
    pub fn assert_bad_file(&self, name: &str, text: &str, expected: &[&str]) {
        self.file(name, text);
        self.check(&["csr.yaml", name])
            .assert_error(&[&[name], expected].concat());
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let for_people = ["Approve ", "Deny ", "Wait ", "Ignore "];
    if for_people
        .iter()
        .any(|verdict| ran.stdout.starts_with(verdict))
    {
        for line in ran.stdout.lines() {
            assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
        }
    }
    ran
}

impl Ran {
    #[track_caller]
    pub fn assert(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "");
        for part in parts {
            assert!(
                self.stdout.contains(part),
                "no `{part}` in\n{}",
                self.stdout
            );
        }
    }

    #[track_caller]
    pub fn assert_error(&self, parts: &[&str]) {
        assert_eq!(self.code, ERROR, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("csr-warden: "), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no `{part}` in\n{}",
                self.stderr
            );
        }
    }
}

pub fn genuine() -> Recipe {
    asking(&["node-1"], &["10.0.0.1"])
}

pub fn asking(dns: &[&str], ips: &[&str]) -> Recipe {
    let ips: Vec<_> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Recipe::genuine("node-1", dns, &ips)
}

/// Renders a request as `kubectl get csr -o yaml` does.
pub fn csr(recipe: &Recipe) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {
            "creationTimestamp": "2026-07-24T12:00:00Z",
            "generateName": "csr-",
            "name": "csr-x7k2p",
            "resourceVersion": "1234",
            "uid": "2f0f3c9e-6d3a-4a39-9a2c-0f6f0a1b2c3d",
        },
        "spec": {
            "extra": {
                "authentication.kubernetes.io/credential-id": [format!("X509SHA256={}", "3f".repeat(32))],
            },
            "groups": ["system:nodes", "system:authenticated"],
            "request": ByteString(recipe.pem().into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
            "username": "system:node:node-1",
        },
        "status": {},
    })
}

/// Renders a Node as `kubectl get node -o yaml` does, with many fields that have no effect.
pub fn node(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
            "creationTimestamp": "2026-07-24T11:00:00Z",
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            "name": name,
            "uid": format!("uid-of-{name}"),
        },
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        "status": {
            "addresses": [
                {"address": ip, "type": "InternalIP"},
                {"address": name, "type": "Hostname"},
            ],
            "capacity": {"cpu": "2"},
            "conditions": [{"status": "True", "type": "Ready"}],
        },
    })
}

pub fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

pub fn items(list: Value) -> Vec<Value> {
    list["items"].as_array().unwrap().clone()
}

/// Renders the objects with the API server's addresses, as `kubectl get` does.
pub fn api_server(service_ip: &str) -> Value {
    let in_default = json!({"name": "kubernetes", "namespace": "default"});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "", "cluster": {"server": "https://10.0.0.100:6443"}}],
    });
    list(vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": in_default,
            "spec": {"clusterIP": service_ip, "clusterIPs": [service_ip]},
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [format!("{service_ip}/32")]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "endpoints": [{"addresses": ["10.0.0.100"]}],
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {"kubeconfig": kubeconfig.to_string()},
        }),
    ])
}

/// Creates a self-signed certificate with these names, in PEM.
pub fn certificate(dns: &[&str], ips: &[&str]) -> String {
    let mut params = rcgen::CertificateParams::default();
    let dns = dns
        .iter()
        .map(|name| rcgen::SanType::DnsName((*name).try_into().unwrap()));
    let ips = ips
        .iter()
        .map(|ip| rcgen::SanType::IpAddress(ip.parse().unwrap()));
    params.subject_alt_names = dns.chain(ips).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem()
}

impl Ran {
    /// Checks a usage error. Clap's own errors are longer, but name the flag and have the same exit
    /// code.
    pub fn assert_usage(&self, part: &str) {
        assert_eq!(self.code, ERROR);
        assert!(self.stderr.contains(part), "{}", self.stderr);
    }
}

/// The approved request of node-2 with the key of node-1.
pub fn approved_with_key_of_node_1() -> Value {
    let mut other = csr(&Recipe {
        key_seed: Some("node-1".into()),
        ..Recipe::genuine("node-2", &["node-2"], &["10.0.0.2".parse().unwrap()])
    });
    other["spec"]["username"] = "system:node:node-2".into();
    other["metadata"]["name"] = "csr-other".into();
    other["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    other
}
