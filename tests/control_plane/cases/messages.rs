//! Error messages of the daemon, and its exit.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::install::Installation;
use control_plane::ports;

const SOON: Duration = Duration::from_secs(60);
/// The deadline for a process to exit.
const END: Duration = Duration::from_secs(5);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("messages_of_wrong_flags", Needs::Nothing, wrong_flags),
        Case::new("messages_of_wrong_files", Needs::Nothing, wrong_files),
        Case::new("messages_of_kubeconfigs", Needs::Nothing, kubeconfigs),
        Case::new(
            "messages_of_a_wrong_credential",
            Needs::Nothing,
            wrong_credential,
        ),
        Case::new(
            "messages_end_with_signals",
            Needs::Nothing,
            ends_with_signals,
        ),
    ]
}

/// Checks that `run` with these flags exits with 2, and that its first sentence contains all of
/// this.
fn refuses(args: &[&str], says: &[&str]) -> Result<()> {
    refuses_with("", args, says)
}

/// Checks the same with this `KUBECONFIG`.
fn refuses_with(kubeconfig: &str, args: &[&str], says: &[&str]) -> Result<()> {
    let output = Command::new(BINARY)
        .arg("run")
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", "/nonexistent")
        .env("RUST_BACKTRACE", "1")
        .output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(2),
        "{args:?}: {}\n{stderr}",
        output.status
    );
    ensure!(output.stdout.is_empty(), "{args:?} writes to stdout");
    let first = stderr.lines().next().context("nothing on stderr")?;
    for text in says {
        ensure!(
            first.contains(text),
            "{args:?} should say `{text}`:\n{stderr}"
        );
    }
    for noise in [
        "panicked",
        "backtrace",
        "Error {",
        "Err(",
        "Some(",
        "ErrorKind",
    ] {
        ensure!(
            !stderr.contains(noise),
            "{args:?} says `{noise}`:\n{stderr}"
        );
    }
    // clap adds a hint below. Every other error is one line.
    let lines = stderr.lines().count();
    let ours = stderr.starts_with("csr-warden: ");
    ensure!(
        if ours { lines == 1 } else { lines <= 6 },
        "{args:?}:\n{stderr}"
    );
    Ok(())
}

async fn wrong_flags(_: Arc<Assets>) -> Result<()> {
    let modes = "expected ApproveAndDeny, ApproveOnly or DryRun, found `maybe`";
    refuses(&["--enforcement=maybe"], &["--enforcement", modes])?;
    refuses(&["--bind-address=here"], &["--bind-address", "here"])?;
    refuses(
        &["--bind-address=127.0.0.1:70000"],
        &["--bind-address", "70000"],
    )?;
    refuses(&["--log-level=wat"], &["--log-level", "wat"])?;
    refuses(&["--concurrency=0"], &["--concurrency", "1..=256"])?;
    refuses(
        &[],
        &["not inside a cluster", "--kubeconfig", "~/.kube/config"],
    )
}

/// `KUBECONFIG` is a list. Missing files are ignored, unless all are missing.
async fn kubeconfigs(_: Arc<Assets>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &Value| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text.to_string())?;
        Ok(path.to_str().context("text")?.to_owned())
    };
    let whole = kubeconfig("https://127.0.0.1:1");
    let whole: Value = serde_json::from_str(&whole)?;
    let mut contexts = whole.clone();
    contexts["clusters"] = json!([]);
    let mut clusters = whole;
    clusters["contexts"] = json!([]);
    let contexts = file("contexts.conf", &contexts)?;
    let clusters = file("clusters.conf", &clusters)?;
    let absent = "/no/file";
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = taken.local_addr()?.to_string();
    let bind = ["--bind-address", &address];
    // Reached only with a usable kubeconfig.
    let far = ["cannot listen on"];
    let list = |parts: &[&str]| parts.join(":");
    refuses_with(&list(&[absent, "", &contexts, &clusters]), &bind, &far)?;
    refuses_with(&contexts, &bind, &["cannot use kubeconfig", &contexts])?;
    refuses_with(
        &list(&[absent, "/no/other"]),
        &bind,
        &["cannot read kubeconfig /no/file", "No such file"],
    )?;
    refuses_with("", &bind, &["not inside a cluster"])
}

async fn wrong_files(_: Arc<Assets>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("text")?.to_owned())
    };
    let kubeconfig = kubeconfig("https://127.0.0.1:1");
    let good = file("good.conf", &kubeconfig)?;
    let broken = file("broken.conf", "clusters: [")?;
    let empty = file("empty.conf", "{}")?;
    refuses(
        &["--kubeconfig=/no/file"],
        &["cannot read kubeconfig /no/file", "No such file"],
    )?;
    refuses(
        &["--kubeconfig", &broken],
        &["cannot read kubeconfig", &broken, "line 1"],
    )?;
    refuses(
        &["--kubeconfig", &empty],
        &["cannot use kubeconfig", &empty, "current-context"],
    )?;
    let other = ["--kubeconfig", &good, "--context=other"];
    refuses(&other, &["no context `other`", "found `test`"])?;

    let policy = |spec: &str| format!("apiVersion: csr-warden.dev/v1beta1\nkind: Policy\n{spec}");
    let shapes = [
        (
            "metadata: {name: p}\nspec: {surprise: 1}",
            "spec.surprise: unknown field `surprise`",
        ),
        (
            "metadata: {name: p}\nspec: {enforcement: Maybe}",
            "spec.enforcement: expected one of ApproveAndDeny, ApproveOnly, DryRun, found `Maybe`",
        ),
        (
            "metadata: {name: p}\nspec: {request: {maxAge: 1h}}",
            "expected 1m to 15m, found `1h`",
        ),
        (
            "metadata: {name: p}\nspec: {request: {maxAge: soon}}",
            "spec.request.maxAge: expected a duration such as `15m` or `8760h`, found `soon`",
        ),
    ];
    for (index, (spec, says)) in shapes.into_iter().enumerate() {
        let path = file(&format!("policy-{index}.yaml"), &policy(spec))?;
        refuses(&["--kubeconfig", &good, "--policy", &path], &[&path, says])?;
    }
    let path = file(
        "v9.yaml",
        "apiVersion: csr-warden/v9\nkind: Policy\nmetadata: {name: p}\nspec: {}",
    )?;
    let version = "apiVersion: expected `csr-warden.dev/v1beta1`, found `csr-warden/v9`";
    refuses(
        &["--kubeconfig", &good, "--policy", &path],
        &[&path, version],
    )?;
    let args = ["--kubeconfig", &good, "--policy=/no/policy"];
    refuses(
        &args,
        &[
            "cannot read policy `/no/policy`",
            "expected a file, or one of default, strict",
        ],
    )?;

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = taken.local_addr()?.to_string();
    let args = ["--kubeconfig", &good, "--bind-address", &address];
    refuses(
        &args,
        &["cannot listen on", &address, "--bind-address", "in use"],
    )
}

fn kubeconfig(server: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": "none"}}],
    })
    .to_string()
}

async fn wrong_credential(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let kubeconfig = cluster.kubeconfig_for_token("wrong")?;
    let [port] = ports::free::<1>()?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let args = [
        "run".into(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--bind-address=127.0.0.1:{port}"),
    ];
    let binary = Path::new(BINARY);
    let mut daemon = Daemon::start(binary, "wrong", cluster.dir(), address, args, [])?;
    let refused = "the API server does not accept the credential (401 Unauthorized)";
    daemon
        .wait_unready(&format!("nodes: cannot be read: {refused}"), SOON)
        .await?;
    daemon
        .wait_for_log(&format!("nodes cannot be read: {refused}"), SOON)
        .await?;
    daemon
        .wait_for_log(
            &format!("the Lease kube-system/csr-warden: {refused}"),
            SOON,
        )
        .await?;
    let lines = daemon.stderr().containing(refused);
    ensure!(lines.len() <= 8, "{} lines: {lines:#?}", lines.len());
    daemon.sigterm(END).await?;
    Ok(())
}

async fn ends_with_signals(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    for frozen in [false, true] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            for elects in ["--leader-elect=true", "--leader-elect=false"] {
                let mut daemon = installation.start("csr-warden", &[elects])?;
                daemon.wait_ready(SOON).await?;
                if elects == "--leader-elect=true" {
                    daemon.wait_for_log("became the leader", SOON).await?;
                }
                if frozen {
                    cluster.api_server.pause()?;
                }
                daemon.process.signal(signal)?;
                let status = daemon.process.wait(END).await;
                cluster.api_server.resume()?;
                let status = status?;
                ensure!(status.code() == Some(0), "{signal}: {status}");
            }
        }
    }
    Ok(())
}
