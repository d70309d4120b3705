//! How fast a backlog is drained, on a real control plane: by a bare client that approves blindly,
//! and by csr-warden that judges each request. Both get the same number of fresh requests from the
//! same nodes on the same API server, in turn.
//!
//!     cargo bench --bench backlog
//!
//! Nothing is asserted: this is for reading. Without a signer (the default) only the approver is
//! measured; `--signer` lets the controller-manager sign meanwhile.

#![allow(missing_docs, unreachable_pub)]

#[path = "../tests/forge/mod.rs"]
mod forge;
#[path = "../tests/control_plane/harness/mod.rs"]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr)]
mod harness;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Parser;
use forge::Recipe;
use harness::assets::Assets;
use harness::cluster::{Cluster, Options, START_DEADLINE, client};
use harness::daemon::Daemon;
use harness::install::Installation;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;

/// The program under test, built with the same profile.
const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");
/// How long a drain may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests of a client that prepares something.
const HANDS: usize = 32;

#[derive(Debug, Clone, Parser)]
struct Flags {
    /// How many nodes ask, once each
    #[arg(long, default_value_t = 2000)]
    nodes: usize,
    /// How often each approver has a backlog of its own
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Connections of the bare client, and `--concurrency` of the daemon
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Lets the controller-manager sign while the backlog is drained
    #[arg(long)]
    signer: bool,
    /// Gives the bare client the daemon's ServiceAccount instead of an administrator's certificate
    #[arg(long)]
    same_identity: bool,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    // `cargo test --benches` only wants to know that it can be built.
    if !flags.bench {
        say("run it with `cargo bench --bench backlog`");
        return ExitCode::SUCCESS;
    }
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("backlog: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(flags: &Flags) -> Result<()> {
    let assets = Assets::find().map_err(|missing| anyhow!("{missing}"))?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("the TLS library has been set up already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(flags, &assets))
}

async fn measure(flags: &Flags, assets: &Assets) -> Result<()> {
    let options = Options {
        signer: flags.signer,
        ..Options::default()
    };
    let cluster = Cluster::start(assets, options).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;

    let mut daemon = installation.start("idle", &[])?;
    daemon.wait_ready(START_DEADLINE).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    say(&format!(
        "daemon, idle on an empty cluster: {}",
        mib(daemon.resident_kib()?)
    ));
    daemon.sigterm(PATIENCE).await?;

    create_nodes(&cluster, flags.nodes).await?;
    say(&format!(
        "{} nodes, {} connections, {}\n",
        flags.nodes,
        flags.connections,
        if flags.signer {
            "with a signer"
        } else {
            "without a signer"
        }
    ));
    let (mut bare, mut warden) = (Vec::new(), Vec::new());
    for _ in 0..flags.rounds {
        post_requests(&cluster, flags.nodes).await?;
        bare.push(drained_by_bare_client(flags, &cluster, &installation).await?);
        clear(&cluster).await?;
        post_requests(&cluster, flags.nodes).await?;
        warden.push(drained_by_daemon(flags, &cluster, &installation).await?);
        clear(&cluster).await?;
    }
    let (bare, warden) = (mean(&bare), mean(&warden));
    say(&format!(
        "\nbare client {bare:.0}/s, csr-warden {warden:.0}/s, ratio {:.2}",
        warden / bare
    ));
    Ok(())
}

/// Lists first and then approves one after the other on each connection, as kubectl does. Only the
/// writes are timed, since the daemon's time begins when it has listed too.
async fn drained_by_bare_client(
    flags: &Flags,
    cluster: &Cluster,
    installation: &Installation,
) -> Result<f64> {
    let kubeconfig = if flags.same_identity {
        installation.kubeconfig()
    } else {
        cluster.admin_kubeconfig()
    };
    let admin: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let listed = Instant::now();
    let mut requests = admin.list(&ListParams::default()).await?.items;
    let listing = listed.elapsed();
    let condition: CertificateSigningRequestCondition = serde_json::from_value(json!({
        "type": "Approved", "status": "True", "reason": "Blind", "message": "approved blindly",
    }))?;
    for request in &mut requests {
        request.status.get_or_insert_default().conditions = Some(vec![condition.clone()]);
    }
    let count = requests.len();
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..flags.connections {
        clients.push(client(kubeconfig).await?);
    }
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for client in clients {
        let (requests, next) = (requests.clone(), next.clone());
        workers.spawn(async move {
            let api: Api<CertificateSigningRequest> = Api::all(client);
            let post = PostParams::default();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let name = request.metadata.name.as_deref().unwrap_or_default();
                api.replace_subresource("approval", name, &post, request)
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let took = begun.elapsed();
    let rate = per_second(count, took);
    say(&format!(
        "bare client  {count} in {:.2} s: {rate:.0}/s (and {} ms to list them)",
        took.as_secs_f64(),
        listing.as_millis()
    ));
    Ok(rate)
}

/// From the moment when the daemon is ready and leads until its last condition is written.
async fn drained_by_daemon(
    flags: &Flags,
    cluster: &Cluster,
    installation: &Installation,
) -> Result<f64> {
    let started = Instant::now();
    let concurrency = flags.connections.to_string();
    let mut daemon = installation.start("csr-warden", &["--concurrency", &concurrency])?;
    let mut ready = None;
    let ended = loop {
        let looked = Instant::now();
        let written = written(&daemon).await.unwrap_or_default();
        // Ready is when nothing had been written at the look before the first write.
        if written == 0 {
            ready = Some(looked);
        }
        if written >= flags.nodes {
            break looked;
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "{written} of {} were written\n{}",
                flags.nodes,
                daemon.process.log_tail()
            );
        }
        daemon.process.must_run()?;
        tokio::time::sleep(harness::GLANCE).await;
    };
    let ready = ready.context("the daemon was never seen idle")?;
    let took = ended - ready;
    let rate = per_second(flags.nodes, took);
    say(&format!(
        "csr-warden   {} in {:.2} s: {rate:.0}/s (and {} ms from start to the first), \
         {:.2} s of CPU",
        flags.nodes,
        took.as_secs_f64(),
        (ready - started).as_millis(),
        daemon.cpu_time()?.as_secs_f64(),
    ));
    let peak = daemon.peak_resident_kib()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    say(&format!(
        "             peak {}, idle after it {}",
        mib(peak),
        mib(daemon.resident_kib()?)
    ));
    let left = undecided(cluster).await?;
    if left > 0 {
        bail!("{left} requests have no condition, although the daemon says so");
    }
    daemon.sigterm(PATIENCE).await?;
    Ok(rate)
}

/// What the daemon's metric says of conditions written.
async fn written(daemon: &Daemon) -> Result<usize> {
    const METRIC: &str = "csr_warden_writes_total{result=\"written\"} ";
    let metrics = daemon.http_get("/metrics").await?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(METRIC));
    Ok(value.map_or(Ok(0), str::parse)?)
}

async fn undecided(cluster: &Cluster) -> Result<usize> {
    let api: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let requests = api.list(&ListParams::default()).await?.items;
    let open = |request: &&CertificateSigningRequest| {
        let status = request.status.as_ref();
        status.is_none_or(|status| status.conditions.is_none())
    };
    Ok(requests.iter().filter(open).count())
}

async fn clear(cluster: &Cluster) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let all = ListParams::default();
    api.delete_collection(&DeleteParams::default(), &all)
        .await?;
    while !api.list(&all).await?.items.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn create_nodes(cluster: &Cluster, count: usize) -> Result<()> {
    each(cluster, count, async |client, index| {
        let name = name(index);
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": address(index)},
            ]},
        }))?;
        let api: Api<Node> = Api::all(client);
        api.create(&PostParams::default(), &node).await?;
        Ok(())
    })
    .await
    .context("create Nodes")
}

/// Each as the node itself, as far as the API server can tell: the user name, groups and credential
/// id in the request are those that it would have.
async fn post_requests(cluster: &Cluster, count: usize) -> Result<()> {
    each(cluster, count, async |client, index| {
        let node = name(index);
        let recipe = Recipe::genuine(&node, &[&node], &[address(index)]);
        let body = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": ByteString(recipe.pem().into_bytes()),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
            },
        });
        let request =
            http::Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
                .header("Content-Type", "application/json")
                .header("Impersonate-User", format!("system:node:{node}"))
                .header("Impersonate-Group", "system:nodes")
                .header("Impersonate-Group", "system:authenticated")
                .header(
                    "Impersonate-Extra-authentication.kubernetes.io%2Fcredential-id",
                    format!("X509SHA256={index:064x}"),
                )
                .body(body.to_string().into_bytes())?;
        let stored: CertificateSigningRequest = client.request(request).await?;
        let spec = stored.spec;
        let credential = spec.extra.unwrap_or_default();
        ensure!(
            spec.username == Some(format!("system:node:{node}"))
                && spec.groups.unwrap_or_default() == ["system:nodes", "system:authenticated"]
                && credential.contains_key("authentication.kubernetes.io/credential-id"),
            "the API server took the request as that of {:?}",
            spec.username
        );
        Ok(())
    })
    .await
    .context("post requests")
}

/// Does something for each node, some at a time.
async fn each<F>(cluster: &Cluster, count: usize, job: F) -> Result<()>
where
    F: AsyncFn(Client, usize) -> Result<()>,
{
    use futures::StreamExt as _;
    let mut jobs = futures::stream::iter(1..=count)
        .map(|index| job(cluster.admin(), index))
        .buffer_unordered(HANDS);
    while let Some(done) = jobs.next().await {
        done?;
    }
    Ok(())
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

/// 172.16.0.1 and on.
fn address(index: usize) -> IpAddr {
    let first = Ipv4Addr::new(172, 16, 0, 0).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(index).unwrap_or_default()).into()
}

#[allow(clippy::cast_precision_loss)]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[allow(clippy::cast_precision_loss)]
fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len() as f64
}

#[allow(clippy::cast_precision_loss)]
fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
