//! `csr-warden doctor` on healthy and on misconfigured clusters. The printed commands are run to
//! fix each finding.

mod environment;
mod node_verdicts;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::test_cluster::{SOON, TestCluster};
use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::install::Installation;
use control_plane::kubelet_port::KubeletPort;
use control_plane::netns;
use environment::{Environment, Kubelet};

const SCHEMA: &str = include_str!("../../../docs/schemas/doctor.json");

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("doctor_healthy", Needs::OwnNetwork, healthy),
        Case::new("doctor_fresh_and_misspelled", Needs::OwnNetwork, fresh),
        Case::new("doctor_blindly_approved", Needs::OwnNetwork, blind),
        Case::new("doctor_forged_refusal", Needs::OwnNetwork, forged_refusal),
        Case::new(
            "doctor_judges_every_node",
            Needs::Nothing,
            node_verdicts::judges_every_node,
        ),
        Case::new("kubectl_plugin", Needs::Nothing, plugin),
    ]
}

/// The report of `doctor`.
struct DoctorReport {
    code: i32,
    report: Value,
}

impl DoctorReport {
    fn codes(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = self.findings().map(|f| text(&f["code"])).collect();
        codes.sort_unstable();
        codes
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        let checks = self.report["checks"].as_array().into_iter().flatten();
        checks.flat_map(|check| check["findings"].as_array().into_iter().flatten())
    }

    fn finding(&self, code: &str) -> Result<&Value> {
        let found = self.findings().find(|finding| finding["code"] == code);
        found.with_context(|| format!("{code} among {:?}", self.codes()))
    }

    /// Returns the commands that fix a finding, without those to run on a node.
    fn fix(&self, code: &str) -> Result<String> {
        let blocks = self.finding(code)?["remedy"].as_array().context("remedy")?;
        let block = blocks.iter().map(text).find(|one| one.contains("kubectl"));
        Ok(block.context("a command")?.to_owned())
    }

    fn expect(&self, code: i32, codes: &[&str]) -> Result<()> {
        let mut codes = codes.to_vec();
        codes.sort_unstable();
        ensure!(
            self.codes() == codes && self.code == code,
            "expected {code} {codes:?}, found {} {:?}\n{:#}",
            self.code,
            self.codes(),
            self.report
        );
        Ok(())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn run(kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(BINARY);
    command.args(["doctor", "--timeout=20", "--kubeconfig"]);
    command.arg(kubeconfig).args(args);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// Runs `doctor`. Its JSON must match the schema, and its text must fit a terminal.
async fn doctor(kubeconfig: &Path) -> Result<DoctorReport> {
    let output = run(kubeconfig, &[]).await?;
    let shown = String::from_utf8(output.stdout)?;
    ensure!(!shown.contains('\x1b'), "colors without a terminal");
    for line in shown.lines() {
        ensure!(line.chars().count() <= 80, "wider than 80: {line}\n{shown}");
    }
    if std::env::var_os("CSR_WARDEN_TEST_SHOW").is_some() {
        eprintln!("{shown}");
    }
    let output = run(kubeconfig, &["-o", "json"]).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).context(stderr.into_owned())?;
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA)?)?;
    let wrong: Vec<String> = schema.iter_errors(&report).map(|e| e.to_string()).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(DoctorReport {
        code: output.status.code().context("a code")?,
        report,
    })
}

/// Fixes a finding by running its commands in a shell.
async fn fix(cluster: &Cluster, report: &DoctorReport, code: &str) -> Result<()> {
    environment::shell(cluster, &report.fix(code)?).await?;
    let after = doctor(cluster.admin_kubeconfig()).await?;
    ensure!(
        !after.codes().contains(&code),
        "{code} after\n{}",
        report.fix(code)?
    );
    Ok(())
}

const ADDRESSES: [Ipv4Addr; 5] = [
    Ipv4Addr::new(10, 78, 0, 1),
    Ipv4Addr::new(10, 78, 0, 2),
    Ipv4Addr::new(10, 78, 0, 3),
    Ipv4Addr::new(10, 78, 0, 4),
    Ipv4Addr::new(10, 78, 0, 5),
];

fn options() -> Options {
    for address in ADDRESSES {
        netns::add(address).expect("an address");
    }
    Options {
        // As in kubeadm, because names of nodes are in no DNS here.
        api_server_args: vec!["--kubelet-preferred-address-types=InternalIP".into()],
        ..Options::default()
    }
}

async fn healthy(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        verify_kubelets: true,
        ..options()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let test_cluster = TestCluster {
        installation: Installation::apply(&cluster, Path::new(BINARY)).await?,
        admin: cluster.admin(),
        cluster,
    };
    let mut daemon = test_cluster.installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let given = Environment::new(&test_cluster.cluster);
    given.kubelet_config("serverTLSBootstrap: true\n").await?;
    given
        .api_server_pod(&["--kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt"])
        .await?;
    let mut ports = Vec::new();
    for (name, ip) in [("n1", ADDRESSES[0]), ("n2", ADDRESSES[1])] {
        let kubelet = Kubelet::join(&test_cluster.cluster, name, ip).await?;
        ports.push(kubelet.serve(&test_cluster.cluster, &[ip], false).await?);
    }
    let report = doctor(test_cluster.cluster.admin_kubeconfig()).await?;
    report.expect(0, &[])?;
    ensure!(report.report["severity"] == "ok", "{:#}", report.report);

    // A closed port is no problem of the cluster. The service behind it is unknown.
    drop(ports.pop());
    let report = doctor(test_cluster.cluster.admin_kubeconfig()).await?;
    report.expect(0, &["KubeletConfigUnseen", "KubeletUnreachable"])?;
    ensure!(report.finding("KubeletUnreachable")?["objects"] == serde_json::json!(["n2"]));

    // Without any permission, the report names the missing ones and has no finding.
    let stranger = test_cluster.cluster.kubeconfig_for("stranger", &[])?;
    let report = doctor(&stranger).await?;
    ensure!(report.code == 0, "{:#}", report.report);
    ensure!(
        report.report["severity"] == "unknown",
        "{:#}",
        report.report
    );
    let rights = report
        .findings()
        .filter(|one| one["code"] == "RightMissing");
    ensure!(rights.count() >= 8, "{:?}", report.codes());
    ensure!(report.codes().contains(&"NodeRestrictionUnknown"));
    // Nodes cannot be listed, and the printed commands grant the permission.
    let nodes = report
        .findings()
        .find(|one| text(&one["summary"]).contains("list nodes"))
        .context("nodes")?;
    for block in nodes["remedy"].as_array().into_iter().flatten() {
        let block = text(block).replace("NAME", "stranger");
        environment::shell(&test_cluster.cluster, &block).await?;
    }
    let report = doctor(&stranger).await?;
    ensure!(report.report["nodes"] == 2, "{:#}", report.report);

    daemon.sigterm(Duration::from_secs(5)).await?;
    let report = doctor(test_cluster.cluster.admin_kubeconfig()).await?;
    ensure!(
        report.codes().contains(&"WardenSilent"),
        "{:?}",
        report.codes()
    );
    ensure!(report.code == 1);
    Ok(())
}

async fn fresh(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, options()).await?;
    let given = Environment::new(&cluster);
    given.kubelet_config("").await?;
    given.api_server_pod(&["--allow-privileged=true"]).await?;
    let mut ports = Vec::new();
    for (name, ip) in [("n1", ADDRESSES[0]), ("n2", ADDRESSES[1])] {
        Kubelet::join(&cluster, name, ip).await?;
        ports.push(environment::self_signed(ip).await?);
    }
    let others = [
        "ApiServerDoesNotVerify",
        "KubeletBootstrapOff",
        "KubeletSelfSigned",
        "WardenAbsent",
    ];
    let with = |code: &'static str| [&[code], others.as_slice()].concat();
    let report = doctor(cluster.admin_kubeconfig()).await?;
    report.expect(1, &with("BootstrapOff"))?;
    fix(&cluster, &report, "BootstrapOff").await?;

    for wrong in [
        "serverTLSBoostrap",
        "serverTlsBootstrap",
        "serverTLSBootstap",
    ] {
        given.kubelet_config(&format!("{wrong}: true\n")).await?;
        let report = doctor(cluster.admin_kubeconfig()).await?;
        report.expect(1, &with("BootstrapMisspelled"))?;
        fix(&cluster, &report, "BootstrapMisspelled").await?;
    }
    given.kubelet_config("serverTLSBootstrap: false\n").await?;
    let report = doctor(cluster.admin_kubeconfig()).await?;
    report.expect(1, &with("BootstrapOff"))?;
    fix(&cluster, &report, "BootstrapOff").await?;
    given
        .kubelet_config("serverTLSBootstrap: \"true\"\n")
        .await?;
    let report = doctor(cluster.admin_kubeconfig()).await?;
    report.expect(1, &with("KubeletConfigUnreadable"))?;
    Ok(())
}

/// A stolen node answers through the API server's proxy with the API server's own words. Nothing in
/// the response tells the two apart.
async fn forged_refusal(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, options()).await?;
    Kubelet::join(&cluster, "n2", ADDRESSES[1]).await?;
    let message = "error trying to reach service: x509: no\u{1b}[2J\n  ok       everything";
    let port = environment::failing(ADDRESSES[1], message).await?;
    let report = doctor(cluster.admin_kubeconfig()).await?;
    let unseen = report.finding("ApiServerUnseen")?;
    let summary = text(&unseen["summary"]);
    ensure!(summary.contains("seems to reject n2"), "{unseen}");
    let shown = run(cluster.admin_kubeconfig(), &[]).await?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(!shown.contains("verifies kubelets: it"), "{shown}");
    ensure!(!shown.contains("\n  ok  "), "{shown}");
    drop(port);

    // A control-plane node is trusted as the API server is.
    Kubelet::join(&cluster, "n1", ADDRESSES[0]).await?;
    let _port = environment::failing(ADDRESSES[0], "x509: no").await?;
    let report = doctor(cluster.admin_kubeconfig()).await?;
    ensure!(
        report.finding("ApiServerUnseen").is_err(),
        "{:?}",
        report.codes()
    );
    Ok(())
}

async fn blind(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        node_restriction: false,
        ..options()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let given = Environment::new(&cluster);
    given.blind_approver().await?;
    given.insecure_metrics_server().await?;
    // One node has the requested certificate, one has a foreign address in it, one has none yet.
    let mut ports = Vec::new();
    let right = Kubelet::join(&cluster, "n1", ADDRESSES[0]).await?;
    ports.push(right.serve(&cluster, &[ADDRESSES[0]], true).await?);
    let wrong = Kubelet::join(&cluster, "n2", ADDRESSES[1]).await?;
    let stolen = Ipv4Addr::new(10, 96, 0, 1);
    ports.push(wrong.serve(&cluster, &[stolen], true).await?);
    let none = Kubelet::join(&cluster, "n3", ADDRESSES[2]).await?;
    ports.push(KubeletPort::without_certificate(none.port).await?);
    let report = doctor(cluster.admin_kubeconfig()).await?;
    let expected = [
        "ApiServerUnseen",
        "ApprovedByOthers",
        "AutoscalerWithoutMetrics",
        "KubeletConfigAbsent",
        "KubeletNoCertificate",
        "KubeletWrongNames",
        "MayApprove",
        "MetricsServerInsecure",
        "NodeRestrictionOff",
        "OtherApprover",
        "WardenAbsent",
    ];
    report.expect(1, &expected)?;
    let wrong = report.finding("KubeletWrongNames")?;
    ensure!(wrong["objects"] == serde_json::json!(["n2"]), "{wrong}");
    ensure!(text(&wrong["summary"]).contains("10.96.0.1"), "{wrong}");
    for code in ["OtherApprover", "MayApprove", "MetricsServerInsecure"] {
        fix(&cluster, &report, code).await?;
    }

    // Nothing is written, not even by the dry run.
    let labels = cluster.kubectl(&["get", "nodes", "-o", "yaml"]).await?;
    ensure!(!labels.contains("csr-warden"), "{labels}");
    let without = run(
        cluster.admin_kubeconfig(),
        &["--no-impersonation", "-o", "json"],
    );
    let report: Value = serde_json::from_slice(&without.await?.stdout)?;
    let unknown = report.to_string().contains("NodeRestrictionUnknown");
    ensure!(unknown, "{report:#}");

    // A server that does not respond is an error in one sentence.
    let mut cluster = cluster;
    cluster.api_server.kill()?;
    let output = run(cluster.admin_kubeconfig(), &[]).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{stderr}");
    ensure!(
        stderr.contains("the API server cannot be reached"),
        "{stderr}"
    );
    Ok(())
}

/// kubectl finds the program in the PATH by the name of a plugin.
async fn plugin(assets: Arc<Assets>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::os::unix::fs::symlink(BINARY, dir.path().join("kubectl-csr_warden"))?;
    let kubectl = |args: &[&str]| -> Result<(bool, String)> {
        let output = Command::new(&assets.kubectl)
            .args(args)
            .env("PATH", dir.path())
            .output()?;
        let mut report = output.stdout;
        report.extend(output.stderr);
        Ok((output.status.success(), String::from_utf8(report)?))
    };
    let (good, help) = kubectl(&["csr-warden", "--help"])?;
    ensure!(
        good && help.contains("Usage: kubectl csr-warden <COMMAND>"),
        "{help}"
    );
    let (good, help) = kubectl(&["csr-warden", "doctor", "--help"])?;
    ensure!(
        good && help.contains("Usage: kubectl csr-warden doctor"),
        "{help}"
    );
    let (good, policy) = kubectl(&["csr-warden", "policy", "show", "strict"])?;
    ensure!(good && policy.contains("name: strict"), "{policy}");
    let (_, listed) = kubectl(&["plugin", "list"])?;
    ensure!(listed.contains("kubectl-csr_warden"), "{listed}");
    let (good, wrong) = kubectl(&["csr-warden", "no-such-command"])?;
    ensure!(
        !good && wrong.contains("Usage: kubectl csr-warden"),
        "{wrong}"
    );
    Ok(())
}
