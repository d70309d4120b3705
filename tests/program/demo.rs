//! `csr-warden demo` without a terminal, and with `--keep`.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::background::Background;
fn demo(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("csr-warden").unwrap();
    command.arg("demo").args(args).stdin(Stdio::null());
    command
}

#[test]
fn every_kubelet_is_served_and_every_forgery_denied() {
    let output = demo(&["--nodes", "10", "--attackers", "5", "--seed", "1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{text}", output.status);
    for sentence in [
        "10 of 10 kubelets have their serving certificate",
        "5 of 5 forgeries denied, 0 approved",
    ] {
        assert!(text.contains(sentence), "no `{sentence}` in\n{text}");
    }
    let (told, summary) = text.split_once("denied as").expect("a table of reasons");
    let codes: Vec<&str> = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("denied in "))
        .filter_map(|rest| rest.split_once(": "))
        .map(|(_, code)| code)
        .collect();
    assert_eq!(codes.len(), 5, "{text}");
    for code in codes {
        assert!(summary.contains(code), "no {code} in\n{summary}");
    }
    for index in 1..=10 {
        let served = format!("node-{index} served in ");
        assert!(told.contains(&served), "no `{served}` in\n{text}");
    }
    assert!(!text.contains('\x1b'), "styles without a terminal\n{text}");
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "{longest:?} columns\n{text}");
}

#[test]
fn counts_are_singular_or_plural_and_zero_is_omitted() {
    let said = |attackers: &str| {
        let output = demo(&["--nodes", "1", "--attackers", attackers])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}\n{text}", output.status);
        text
    };
    let none = said("0");
    assert!(
        none.contains("1 kubelet asks for its serving certificate\n"),
        "{none}"
    );
    assert!(
        none.contains("1 of 1 kubelet has its serving certificate"),
        "{none}"
    );
    for absent in ["kubelets", "attacker", "forger"] {
        assert!(!none.contains(absent), "`{absent}` in\n{none}");
    }
    let one = said("1");
    assert!(one.contains("and 1 attacker with a\n"), "{one}");
    assert!(one.contains("1 of 1 forgery denied, 0 approved"), "{one}");
}

#[test]
fn the_same_seed_gives_the_same_forgeries() {
    let forgeries = || -> Vec<String> {
        let output = demo(&["--nodes", "1", "--attackers", "16", "--seed", "7"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}\n{text}", output.status);
        let mut said: Vec<String> = text
            .lines()
            .filter_map(|line| Some(line.split_once(" s  rogue-")?.1.to_owned()))
            .collect();
        said.sort();
        said
    };
    let once = forgeries();
    assert_eq!(once.len(), 16, "{once:?}");
    assert_eq!(once, forgeries());
}

#[test]
fn a_kept_demo_can_be_used_until_it_is_interrupted() {
    let mut command = demo(&["--nodes", "3", "--attackers", "2", "--keep"]);
    let mut kept = Background(command.stdout(Stdio::piped()).spawn().unwrap());
    // The demonstration ends when its reader is gone.
    let mut lines = BufReader::new(kept.0.stdout.take().unwrap()).lines();
    let mut kubeconfig = None;
    let mut invitation = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if kubeconfig.is_some() && !line.contains("export PATH=") {
            assert!(line.chars().count() <= 80, "{line}");
            invitation.push_str(&line);
            invitation.push('\n');
        }
        if let Some(path) = line.trim().strip_prefix("export KUBECONFIG=") {
            kubeconfig = Some(PathBuf::from(path));
        }
        if line.starts_with("Press Ctrl-C") {
            break;
        }
    }
    let kubeconfig = kubeconfig.expect("a kubeconfig");
    for command in ["status", "explain NAME", "audit --dial", "doctor"] {
        let line = format!("\n  csr-warden {command}\n");
        assert!(invitation.contains(&line), "no `{command}` in {invitation}");
    }
    // Without a Lease of its own it would stand by and print nothing.
    assert!(invitation.contains("run --enforcement DryRun --lease-name look"));
    let no_port = "its Node has no port of a kubelet";
    for (command, says) in [
        ("status", "node-3"),
        ("audit", "node-3"),
        ("audit --dial", no_port),
        ("doctor", no_port),
    ] {
        let output = Command::cargo_bin("csr-warden")
            .unwrap()
            .args(command.split(' '))
            .env("KUBECONFIG", &kubeconfig)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // An attacker's Node is a problem.
        let expected = i32::from(command == "doctor" && text.contains("NodesDenied"));
        assert_eq!(output.status.code(), Some(expected), "{command}: {text}");
        assert!(text.contains(says), "{command}: {text}");
    }
    let mode = std::fs::metadata(&kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let requests = requests(&kubeconfig);
    let has = |wanted: &str| {
        let conditions = |request: &&CertificateSigningRequest| {
            let status = request.status.clone().unwrap_or_default();
            let mut conditions = status.conditions.into_iter().flatten();
            conditions.any(|condition| condition.type_ == wanted)
        };
        requests.iter().filter(conditions).count()
    };
    assert_eq!((has("Approved"), has("Denied")), (3, 2));
    if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
        let kubectl = |args: &[&str]| {
            let output = Command::new(Path::new(&assets).join("kubectl"))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .arg("--cache-dir")
                .arg(kubeconfig.with_file_name("cache"))
                .args(args)
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "kubectl {args:?}: {error}");
            String::from_utf8(output.stdout).unwrap()
        };
        let listed = kubectl(&["get", "csr"]);
        assert_eq!(listed.matches("Approved,Issued").count(), 3, "{listed}");
        assert_eq!(listed.matches("Denied").count(), 2, "{listed}");
        assert!(kubectl(&["get", "nodes", "-o", "wide"]).contains("10.128.0.2"));
        // A request of another signer, which csr-warden ignores.
        let directory = kubeconfig.parent().unwrap();
        let request = directory.join("request.json");
        std::fs::write(&request, client_request().to_string()).unwrap();
        kubectl(&["apply", "-f", request.to_str().unwrap()]);
        assert!(kubectl(&["certificate", "approve", "by-hand"]).contains("approved"));
        assert!(kubectl(&["get", "csr", "by-hand"]).contains("Approved"));
        // csr-warden has the rights of deploy/base, and no others.
        let may = |verb: &str, resource: &str| {
            let account = "system:serviceaccount:kube-system:csr-warden";
            let asked = ["auth", "can-i", verb, resource, "--as", account];
            Command::new(Path::new(&assets).join("kubectl"))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .arg("--cache-dir")
                .arg(kubeconfig.with_file_name("cache"))
                .args(asked)
                .output()
                .unwrap()
                .status
                .success()
        };
        assert!(may("list", "nodes"));
        for (verb, resource) in [("get", "secrets"), ("delete", "csr"), ("patch", "nodes")] {
            assert!(!may(verb, resource), "{verb} {resource}");
        }
    }

    let pid = i32::try_from(kept.0.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    let status = kept.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!kubeconfig.parent().unwrap().exists());
}

/// A request for a client certificate.
fn client_request() -> serde_json::Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, "jane");
    params.distinguished_name = name;
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    serde_json::json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "by-hand"},
        "spec": {
            "request": k8s_openapi::ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    })
}

fn requests(kubeconfig: &Path) -> Vec<CertificateSigningRequest> {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let api: Api<CertificateSigningRequest> = Api::all(client);
        api.list(&ListParams::default()).await.unwrap().items
    })
}
