//! Faults of the control plane while kubelets make requests. The daemon must survive them, lose no
//! request and write none twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::ListParams;

use crate::{BINARY, Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::bound_token::BoundToken;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::tcp_relay::TcpRelay;

const SOON: Duration = Duration::from_secs(60);
/// Kubelets that could not post a request back off for a long time.
const LATER: Duration = Duration::from_secs(180);
/// The time for which the API server is frozen.
const FROZEN: Duration = Duration::from_secs(10);
/// The timeout of a watch (`cluster::watch::TIMEOUT_SECONDS`), plus the time to restart it.
const WATCH: Duration = Duration::from_secs(65);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "faults_api_server_killed",
            Needs::Nothing,
            api_server_killed,
        ),
        Case::new(
            "faults_api_server_frozen",
            Needs::Nothing,
            api_server_frozen,
        ),
        Case::new("faults_etcd_killed", Needs::Nothing, etcd_killed),
        Case::new(
            "faults_history_compacted",
            Needs::Nothing,
            history_compacted,
        ),
        Case::new(
            "faults_no_streaming_lists",
            Needs::Nothing,
            no_streaming_lists,
        ),
        Case::new(
            "faults_link_cut_and_silent",
            Needs::Nothing,
            link_cut_and_silent,
        ),
        Case::new(
            "faults_unreachable_at_start",
            Needs::Nothing,
            unreachable_at_start,
        ),
    ]
}

/// A cluster, a ready daemon, and kubelets of which some have been served.
struct FaultCluster {
    // In the order of dropping: clients before their servers.
    fleet: Fleet,
    daemon: Daemon,
    cluster: Cluster,
}

impl FaultCluster {
    async fn start(assets: &Assets) -> Result<Self> {
        let cluster = Cluster::start(assets, Options::default()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let mut daemon = installation.start("csr-warden", &[])?;
        daemon.wait_ready(SOON).await?;
        let options = fleet::Options {
            start_spread: Duration::from_secs(2),
            ..fleet::Options::nodes(50)
        };
        let fleet = Fleet::start(assets, &cluster, &options)?;
        let begun = Instant::now();
        while fleet.issued().len() < 5 {
            ensure!(begun.elapsed() < SOON, "no node is served");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Self {
            fleet,
            daemon,
            cluster,
        })
    }

    /// Checks that all kubelets are served, by the same process, with the right logs and metrics.
    async fn recovers(&mut self) -> Result<()> {
        self.fleet.wait_all_issued(LATER).await?;
        self.daemon.wait_ready(SOON).await?;
        consistent(&self.cluster, &self.daemon).await?;
        let warnings = self.daemon.stderr().containing("\"level\":\"WARN\"");
        ensure!(
            warnings.len() < 60,
            "{} warnings: {warnings:#?}",
            warnings.len()
        );
        let status = self.daemon.sigterm(Duration::from_secs(5)).await?;
        ensure!(status.code() == Some(0), "{status}");
        Ok(())
    }
}

/// Checks that each request is approved once and logged once. A write whose response was lost may
/// have succeeded. Then it counts as failed, although the request is approved.
async fn consistent(cluster: &Cluster, daemon: &Daemon) -> Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let ours = ListParams::default().fields("spec.signerName=kubernetes.io/kubelet-serving");
    let requests = api.list(&ours).await?.items;
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for line in daemon.stdout().containing("\"verdict\":\"Approve\"") {
        let line: serde_json::Value = serde_json::from_str(&line)?;
        let uid = line
            .get("uid")
            .and_then(|uid| uid.as_str())
            .context("uid")?;
        *said.entry(uid.to_owned()).or_default() += 1;
    }
    let mut approved = 0;
    for request in &requests {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let status = request.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let types: Vec<&str> = conditions.iter().map(|one| one.type_.as_str()).collect();
        ensure!(types == ["Approved"], "{name}: {types:?}");
        ensure!(status.certificate.is_some(), "{name} has no certificate");
        let uid = request.metadata.uid.as_deref().unwrap_or_default();
        ensure!(said.get(uid) == Some(&1), "{name}: {:?}", said.get(uid));
        approved += 1;
    }
    ensure!(
        said.len() == requests.len(),
        "{} of {}",
        said.len(),
        requests.len()
    );
    let written = daemon.written().await?;
    let failed = daemon
        .metric("csr_warden_writes_total{result=\"failed\"}")
        .await?;
    ensure!(
        written <= approved && approved <= written + failed,
        "{approved} approved, {written} written, {failed} failed"
    );
    Ok(())
}

async fn api_server_killed(assets: Arc<Assets>) -> Result<()> {
    let mut cluster = FaultCluster::start(&assets).await?;
    cluster.cluster.api_server.kill()?;
    cluster.cluster.api_server.start()?;
    cluster.cluster.ready(START_DEADLINE).await?;
    cluster.recovers().await
}

async fn api_server_frozen(assets: Arc<Assets>) -> Result<()> {
    let mut cluster = FaultCluster::start(&assets).await?;
    cluster.cluster.api_server.pause()?;
    tokio::time::sleep(FROZEN).await;
    cluster.cluster.api_server.resume()?;
    cluster.cluster.ready(START_DEADLINE).await?;
    cluster.recovers().await
}

async fn etcd_killed(assets: Arc<Assets>) -> Result<()> {
    let mut cluster = FaultCluster::start(&assets).await?;
    cluster.cluster.etcd.kill()?;
    cluster
        .daemon
        .wait_for_log("the Lease kube-system/csr-warden", SOON)
        .await?;
    cluster.cluster.etcd.start()?;
    cluster.cluster.ready(START_DEADLINE).await?;
    cluster.recovers().await
}

/// An API server that rejects streaming lists, as in Kubernetes 1.33, is listed page by page.
async fn no_streaming_lists(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        api_server_args: vec!["--feature-gates=WatchList=false".into()],
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let streamed = "/api/v1/nodes?watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
                    &resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let refused = cluster.kubectl(&["get", "--raw", streamed]).await;
    ensure!(refused.is_err(), "the API server streams lists");
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(5))?;
    fleet.wait_all_issued(SOON).await?;
    let errors = daemon.metric("csr_warden_source_errors_total").await?;
    ensure!(
        errors == 0,
        "{errors} errors: {:#?}",
        daemon.stderr().lines()
    );
    Ok(())
}

/// Without the watch cache there are no streaming lists, and a watch that restarts after a
/// compaction gets 410.
async fn history_compacted(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        api_server_args: vec!["--watch-cache=false".into()],
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let begun = Instant::now();
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(5))?;
    fleet.wait_all_issued(SOON).await?;
    cluster.etcd_store().compact().await?;
    tokio::time::sleep(WATCH.saturating_sub(begun.elapsed())).await;

    // The HTTP status is 200: the 410 is inside of the watch.
    let log = std::fs::read_to_string(cluster.api_server.log())?;
    let compacted = "required revision has been compacted";
    ensure!(log.contains(compacted), "no watch met the compaction");
    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    daemon.wait_ready(SOON).await?;
    let errors = daemon.metric("csr_warden_source_errors_total").await?;
    ensure!(
        errors == 0,
        "{errors} errors\n{:#?}",
        daemon.stderr().lines()
    );
    consistent(&cluster, &daemon).await
}

/// The API server runs all the time, so watches could resume after the interruption.
async fn link_cut_and_silent(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let link = TcpRelay::to(cluster.server()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let token = BoundToken::create(&cluster).await?;
    let installation = installation.through(&cluster, &link.server(), &token)?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(5))?;
    fleet.wait_all_issued(SOON).await?;

    link.cut();
    daemon.wait_for_log("nodes cannot be read", SOON).await?;
    link.restore();
    wait_sources(&daemon).await?;
    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;

    // Half-open: neither end is notified. The watches time out.
    let before = daemon.resident_kib()?;
    link.silence();
    daemon.wait_for_log("did not answer in time", SOON).await?;
    link.restore();
    fleet.rotate_all()?;
    fleet.wait_all_issued(2 * WATCH).await?;
    wait_sources(&daemon).await?;
    let after = daemon.resident_kib()?;
    ensure!(after < before + 8 * 1024, "{before} KiB became {after} KiB");
    consistent(&cluster, &daemon).await
}

/// Waits until every source works, not only until the last state is sufficient.
async fn wait_sources(daemon: &Daemon) -> Result<()> {
    let begun = Instant::now();
    loop {
        let working = daemon.metric("csr_warden_source_synced").await?;
        if working == 8 {
            return Ok(());
        }
        ensure!(begun.elapsed() < 2 * WATCH, "only {working} sources work");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn unreachable_at_start(assets: Arc<Assets>) -> Result<()> {
    let mut cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let link = TcpRelay::to(cluster.server()).await?;
    let token = BoundToken::create(&cluster).await?;
    let near = installation.through(&cluster, &link.server(), &token)?;
    cluster.api_server.kill()?;
    let mut daemon = near.start("csr-warden", &[])?;
    for source in ["nodes", "certificatesigningrequests", "servicecidrs"] {
        let why = format!("{source}: cannot be read: the API server did not answer in time");
        daemon.wait_unready(&why, SOON).await?;
    }
    ensure!(daemon.http_get("/livez").await?.status == 200, "not alive");

    // No hot loop, no excess of connections, and no endless repetition of the same log line.
    const LOOK: Duration = Duration::from_secs(5);
    let (cpu, opened) = (daemon.cpu_time()?, link.opened());
    let lines = daemon.stderr().lines().len();
    tokio::time::sleep(LOOK).await;
    let cpu = daemon.cpu_time()?.saturating_sub(cpu);
    ensure!(cpu < LOOK / 5, "{cpu:?} of processor time in {LOOK:?}");
    let opened = link.opened() - opened;
    ensure!(opened < 60, "{opened} connections in {LOOK:?}");
    let more = daemon.stderr().lines().len() - lines;
    ensure!(
        more < 10,
        "{more} lines in {LOOK:?}: {:#?}",
        daemon.stderr().lines()
    );

    cluster.api_server.start()?;
    cluster.ready(START_DEADLINE).await?;
    daemon.wait_ready(SOON).await?;
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(1))?;
    fleet.wait_all_issued(SOON).await?;
    let cpu = daemon.cpu_time()?;
    tokio::time::sleep(LOOK).await;
    let cpu = daemon.cpu_time()?.saturating_sub(cpu);
    ensure!(
        cpu < LOOK / 10,
        "{cpu:?} of processor time in {LOOK:?} of idling"
    );
    // Without leader election nothing wakes it, and nothing may spin.
    let alone = installation.start("alone", &["--leader-elect=false"])?;
    alone.wait_for_log("nodes synced", SOON).await?;
    let cpu = alone.cpu_time()?;
    tokio::time::sleep(LOOK).await;
    let cpu = alone.cpu_time()?.saturating_sub(cpu);
    ensure!(
        cpu < LOOK / 10,
        "{cpu:?} of processor time in {LOOK:?} without an election"
    );
    Ok(())
}
