//! A Node that its kubelet changes all the time, while as many of its requests wait as are kept, and
//! stdout is read quickly, slowly or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use super::budgets::{OF_ONE, median_of, post_large};
use super::load::{as_kubelet, limit};
use super::output::{decisions, logged_writes, of_node};
use super::real_control_plane;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, all_served, end, memory, no_forgery_was_approved};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster, is_served};
use control_plane::POLL_INTERVAL;
use control_plane::cluster::Options;
use control_plane::daemon::{Daemon, http_get};
use control_plane::output::Pace;

/// The number of judgments that the changes of one Node cause at once (`wake_budget.rs`).
const AT_ONCE: u64 = 64;
/// The number of lines of a requestor at once, and for each second (`line_budget.rs`).
const LINES_AT_ONCE: u64 = 256;
const LINES_PER_SECOND: u64 = 4;
/// The pause between two changes of a Node.
const CHANGE: Duration = Duration::from_millis(5);
/// The pause between two requests for `/livez`.
const PROBE: Duration = Duration::from_millis(100);
/// The number of honest kubelets that ask before the attack, and in each round of it.
const HONEST: usize = 20;
/// The pause between two rounds. While stdout is not read, the lines of all approvals have to fit into
/// the log's queue (`MAX_REQUIRED_BYTES`): without space for its line, no request is judged.
const ROUND: Duration = Duration::from_secs(1);
/// The speed of a slow reader of stdout, in bytes for each second.
const SLOW: Pace = Pace::BytesPerSecond(2 * 1024 * 1024);
const SOON: Duration = Duration::from_secs(60);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_node_keeps_changing",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait",
            |scale| async move {
                let test_cluster = TestCluster::embedded().await?;
                node_keeps_changing(test_cluster, scale, Pace::Unlimited).await
            },
        ),
        Case::new(
            "real_node_keeps_changing",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait",
            |scale| real(scale, Pace::Unlimited),
        ),
        Case::new(
            "real_node_keeps_changing_log_slow",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait, and stdout is read at 2 MiB a second",
            |scale| real(scale, SLOW),
        ),
        Case::new(
            "real_node_keeps_changing_log_unread",
            "a kubelet changes its own Node 200 times a second while 32 of its requests wait, and stdout is not read: no line of a written decision is lost",
            |scale| real(scale, Pace::Stopped),
        ),
    ]
}

async fn real(scale: Scale, pace: Pace) -> Result<Measured> {
    let test_cluster = real_control_plane::test_cluster(Options::default()).await?;
    node_keeps_changing(test_cluster, scale, pace).await
}

/// A task that does the same at an interval.
struct Repeated {
    task: JoinHandle<Result<()>>,
    count: Arc<AtomicU64>,
    slowest_micros: Arc<AtomicU64>,
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Repeated {
    /// Starts the task. `once` gets the number of times that it was done before. An error ends the task.
    fn start<F>(pause: Duration, once: impl Fn(u64) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let count = Arc::new(AtomicU64::new(0));
        let slowest_micros = Arc::new(AtomicU64::new(0));
        let (counted, slowest) = (count.clone(), slowest_micros.clone());
        let task = tokio::spawn(async move {
            let mut ticks = interval(pause);
            loop {
                ticks.tick().await;
                let begun = Instant::now();
                once(counted.load(Ordering::Relaxed)).await?;
                counted.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                slowest.fetch_max(micros, Ordering::Relaxed);
            }
        });
        Self {
            task,
            count,
            slowest_micros,
        }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Stops the task. Returns how often it was done, and how long that took at most.
    async fn stop(mut self) -> Result<(u64, Duration)> {
        if self.task.is_finished() {
            (&mut self.task).await??;
        }
        let slowest = self.slowest_micros.load(Ordering::Relaxed);
        Ok((self.count(), Duration::from_micros(slowest)))
    }
}

/// Changes the addresses of this Node until the task is stopped.
fn keep_changing(admin: Client, node: String) -> Repeated {
    Repeated::start(CHANGE, move |change| {
        let (admin, node) = (admin.clone(), node.clone());
        async move {
            let mut addresses = vec![json!({"type": "Hostname", "address": node})];
            if change % 2 == 0 {
                addresses.push(json!({"type": "InternalIP", "address": "10.9.0.66"}));
            }
            let patch = json!([{"op": "add", "path": "/status/addresses", "value": addresses}]);
            let request = http::Request::patch(format!("/api/v1/nodes/{node}/status"))
                .header("content-type", "application/json-patch+json")
                .header("impersonate-user", format!("system:node:{node}"))
                .header("impersonate-group", "system:nodes")
                .body(patch.to_string().into_bytes())?;
            admin.request::<Value>(request).await?;
            Ok(())
        }
    })
}

/// Requests `/livez` until the task is stopped. Each answer must be 200.
fn keep_probing(daemon: &Daemon) -> Repeated {
    let address = daemon.address();
    Repeated::start(PROBE, move |_| async move {
        let alive = http_get(address, "/livez").await.context("/livez")?;
        ensure!(alive.status == 200, "/livez: {}", alive.body);
        Ok(())
    })
}

async fn lease(test_cluster: &TestCluster) -> Result<LeaseSpec> {
    let leases: Api<Lease> = Api::namespaced(test_cluster.admin()?, "kube-system");
    let lease = leases.get("csr-warden").await?;
    lease.spec.context("expected a held Lease, found none")
}

/// Waits until the Lease has been renewed. Its holder must be the same all the time.
async fn is_renewed(test_cluster: &TestCluster, before: &LeaseSpec) -> Result<()> {
    let holder = |lease: &LeaseSpec| (lease.holder_identity.clone(), lease.lease_transitions);
    let begun = Instant::now();
    loop {
        let now = lease(test_cluster).await?;
        ensure!(
            holder(&now) == holder(before),
            "expected the holder of {before:?}, found {now:?}"
        );
        if now.renew_time > before.renew_time {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "the Lease is not renewed: {now:?}");
        sleep(POLL_INTERVAL).await;
    }
}

async fn node_keeps_changing(
    mut test_cluster: TestCluster,
    scale: Scale,
    pace: Pace,
) -> Result<Measured> {
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let quiet = median_of(&test_cluster, 1..1 + HONEST).await?;
    let before = memory(&test_cluster, 0)?;

    let node = format!("{ATTACKER_PREFIX}1");
    let own = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node},
        "status": {"addresses": [{"type": "Hostname", "address": node}]},
    });
    as_kubelet(&admin, &node, "/api/v1/nodes", &own).await?;
    // The changes alone make the API server slower.
    let changing = keep_changing(admin.clone(), node.clone());
    let mut first = 1 + HONEST;
    let usual = median_of(&test_cluster, first..first + HONEST).await?;
    first += HONEST;

    let daemon = &test_cluster.replicas[0];
    let held = lease(&test_cluster).await?;
    let probing = keep_probing(daemon);
    daemon.stdout().set_pace(pace);
    let attacked = Instant::now();
    post_large(&admin, &node).await?;
    let judged = daemon.metric("csr_warden_judge_seconds_count").await?;
    let (begun, asked_before, changed_before) = (Instant::now(), first, changing.count());
    let mut beside = Vec::new();
    let mut rounds = interval(ROUND);
    let mut read = None;
    while beside.is_empty() || begun.elapsed() < scale.fault {
        rounds.tick().await;
        beside.push(median_of(&test_cluster, first..first + HONEST).await?);
        first += HONEST;
        // A read that began before the pace was changed has ended by now.
        let lines = daemon.stdout().count();
        ensure!(
            pace != Pace::Stopped || *read.get_or_insert(lines) == lines,
            "stdout was read"
        );
    }
    is_renewed(&test_cluster, &held).await?;
    let more = daemon.metric("csr_warden_judge_seconds_count").await? - judged;
    let lasted = begun.elapsed();
    let (changes, _) = changing
        .stop()
        .await
        .context("the Node has stopped changing")?;
    let (probes, slowest) = probing.stop().await?;
    daemon.stdout().set_pace(Pace::Unlimited);
    let asked = first - asked_before;
    // Each honest request is judged a few times. Those of the Node once a second, and the first ones.
    let wakes = lasted.as_secs() + 2 + AT_ONCE / OF_ONE as u64;
    let most = wakes * OF_ONE as u64 + 10 * asked as u64;
    beside.sort_unstable();
    let beside = beside.get(beside.len() / 2).copied().unwrap_or_default();
    let times = |to: Duration| beside.as_secs_f64() / to.as_secs_f64();
    let mut note = format!(
        "{:.0} changes a second, {more} judgments; {asked} certificates of others, each after {:.1} ms, {:.2} \
         times as long as without its requests, {:.2} times as long as without its changes",
        (changes - changed_before) as f64 / lasted.as_secs_f64(),
        beside.as_secs_f64() * 1e3,
        times(usual),
        times(quiet)
    );
    ensure!(
        more <= most,
        "{most} judgments at most in {lasted:?}: {note}"
    );

    let served = all_served(&test_cluster, scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    let after = memory(&test_cluster, 0)?;
    let peak = daemon.peak_resident_kib()?;
    // The limit is that of an optimized build.
    ensure!(
        cfg!(debug_assertions) || peak <= limit()?,
        "{peak} KiB at most"
    );
    let lost = async |reason: &str| {
        let series = format!("csr_warden_log_lines_lost_total{{reason=\"{reason}\"}}");
        daemon.metric(&series).await
    };
    let (by_budget, by_queue) = (lost("budget").await?, lost("queue").await?);
    let mut requests = test_cluster.requests().await?;
    requests.retain(is_served);
    end(&mut test_cluster).await?;

    let decisions = decisions(test_cluster.replicas[0].stdout()).await?;
    let logged = logged_writes(&decisions);
    for request in requests {
        let name = request.metadata.name.context("name")?;
        ensure!(logged.contains(&*name), "no line about {name}");
    }
    let lines = of_node(&decisions, &node) as u64;
    note += &format!(
        "; {lines} lines of the node, {by_budget} lost beyond its budget and {by_queue} for lack of space; {probes} \
         answers of /livez, each within {:.1} ms; {:.1} MiB at most",
        slowest.as_secs_f64() * 1e3,
        peak as f64 / 1024.0
    );
    let allowed = LINES_AT_ONCE + LINES_PER_SECOND * (attacked.elapsed().as_secs() + 1);
    ensure!(lines <= allowed, "{allowed} lines at most: {note}");
    Ok(Measured {
        lasted,
        served,
        denied: 0,
        recovered: Duration::ZERO,
        memory: (before, after),
        note,
    })
}
