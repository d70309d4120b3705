//! Nodes that cost more than their share: memory of requests, denials.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Client;
use lab::fleet;
use lab::kubelet::{Kubelet, Outcome};
use lab::request::Template;
use rcgen::KeyPair;
use tokio::time::{Instant, sleep};

use super::load::{post_request, register};
use super::real_control_plane;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, all_served, end, memory, no_forgery_was_approved};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};
use control_plane::cluster::Options;

/// The number of open requests that are kept of one requestor (`MOST_OF_ONE_REQUESTOR`).
pub(super) const OF_ONE: usize = 32;
/// The number of names in a large request.
const NAMES: usize = 56;
/// The number of forged requests of one node.
const FORGERIES: usize = 20;
/// The interval between two denials of one node (`--denial-interval`).
const DENIAL_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum growth of memory in KiB: the limit for all open requests is 24 MiB, and the Deployment
/// allows 64 MiB. Without requests, an optimized build takes 16 MiB.
const MAX_GROWTH_KIB: u64 = 40 * 1024;
const SOON: Duration = Duration::from_secs(60);
/// An address of a Service.
const SERVICE: &str = "10.96.0.77";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_large_requests",
            "attackers with many credentials post as many requests as they can, as large as possible, all of which wait",
            |scale| async move { large_requests(TestCluster::embedded().await?, scale).await },
        )
        .heavy(),
        Case::new(
            "embedded_many_denials",
            "one node posts 20 forged requests at once, and a genuine one",
            many_denials,
        ),
        Case::new(
            "real_large_requests",
            "attackers with many credentials post as many requests as they can, as large as possible, all of which wait",
            |scale| async move {
                let options = Options::default();
                large_requests(real_control_plane::test_cluster(options).await?, scale).await
            },
        ),
    ]
}

/// Returns a request of this node with many names that are not its own, almost as large as can be.
fn large(node: &str) -> Result<String> {
    let label = "a".repeat(60);
    let name = |index| format!("{index:05}.{label}.{label}.{label}.example");
    let names: Vec<String> = (0..NAMES).map(name).collect();
    Template::genuine(node, &names, &[]).pem(&KeyPair::generate()?)
}

/// Posts as many waiting requests of this node as are kept.
pub(super) async fn post_large(admin: &Client, node: &str) -> Result<()> {
    let pem = large(node)?;
    for _ in 0..OF_ONE {
        post_request(admin, node, &pem).await?;
    }
    Ok(())
}

/// Lets these kubelets ask one after the other. Returns the median time to a certificate.
pub(super) async fn median_of(
    test_cluster: &TestCluster,
    which: std::ops::Range<usize>,
) -> Result<Duration> {
    let mut took = Vec::new();
    for index in which {
        let name = fleet::name(index);
        let user = format!("system:node:{name}");
        let kubelet = Kubelet {
            config: test_cluster.config_for(&user, &["system:nodes"]).await?,
            ips: vec![fleet::address(index)],
            labels: Vec::new(),
            name,
        };
        let client = kubelet.connect()?;
        kubelet.register(&client).await?;
        match kubelet.ask(&client).await? {
            Outcome::Served(served) => took.push(served.after),
            Outcome::Unserved(why) => bail!("{}: {why}", kubelet.name),
        }
    }
    took.sort_unstable();
    took.get(took.len() / 2).copied().context("no kubelet")
}

async fn large_requests(mut test_cluster: TestCluster, scale: Scale) -> Result<Measured> {
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    futures::stream::iter(1..=scale.nodes_beside)
        .map(|index| register(&admin, index))
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    let before = memory(&test_cluster, 0)?;
    let begun = Instant::now();
    futures::stream::iter(1..=scale.identities)
        .map(|index| {
            let admin = admin.clone();
            async move { post_large(&admin, &format!("{ATTACKER_PREFIX}{index}")).await }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;
    let lasted = begun.elapsed();
    // A certificate proves that everything before it has been seen.
    median_of(
        &test_cluster,
        scale.nodes_beside + 1..scale.nodes_beside + 4,
    )
    .await?;
    let live = test_cluster.replicas[0].peak_resident_kib()?;
    let dropped = "csr_warden_requests_dropped_for_memory_total";
    let dropped_live = test_cluster.replicas[0].metric(dropped).await?;
    ensure!(dropped_live > 0, "nothing was dropped for memory");

    test_cluster.replicas[0].kill()?;
    test_cluster.replicas[0].process.start()?;
    test_cluster.replicas[0].wait_ready(SOON).await?;
    median_of(
        &test_cluster,
        scale.nodes_beside + 4..scale.nodes_beside + 7,
    )
    .await?;
    let restarted = test_cluster.replicas[0].peak_resident_kib()?;
    let served = all_served(&test_cluster, scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    let after = memory(&test_cluster, 0)?;
    let grown = live.max(restarted).saturating_sub(before);
    ensure!(grown <= MAX_GROWTH_KIB, "{before} KiB grew by {grown} KiB");
    end(&mut test_cluster).await?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(Measured {
        lasted,
        served,
        denied: 0,
        recovered: Duration::ZERO,
        memory: (before, after),
        note: format!(
            "{} requests of {} nodes beside {} Nodes; at most {:.1} MiB, and {:.1} MiB after a restart",
            scale.identities * OF_ONE,
            scale.identities,
            scale.nodes_beside,
            mib(live),
            mib(restarted)
        ),
    })
}

async fn many_denials(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let before = memory(&test_cluster, 0)?;
    // It is no attacker to the checks: its genuine request must be served.
    let (name, address) = (fleet::name(1), fleet::address(1));
    register(&admin, 1).await?;
    let begun = Instant::now();
    let forged = Template::genuine(&name, std::slice::from_ref(&name), &[SERVICE.parse()?]);
    let forged = forged.pem(&KeyPair::generate()?)?;
    for _ in 0..FORGERIES {
        post_request(&admin, &name, &forged).await?;
    }
    let genuine = Template::genuine(&name, std::slice::from_ref(&name), &[address]);
    post_request(&admin, &name, &genuine.pem(&KeyPair::generate()?)?).await?;
    let (approved, denied) = loop {
        let requests = test_cluster.requests().await?;
        let of = |kind: &str| requests.iter().filter(|one| has(one, kind)).count();
        let allowed = 1 + begun.elapsed().as_secs() / DENIAL_INTERVAL.as_secs();
        let counts = (of("Approved"), of("Denied"));
        ensure!(
            counts.1 as u64 <= allowed,
            "{counts:?}, allowed are {allowed} denials"
        );
        if counts.0 > 0 && counts.1 > 1 {
            break counts;
        }
        ensure!(begun.elapsed() < scale.patience, "{counts:?}");
        sleep(Duration::from_millis(100)).await;
    };
    let lasted = begun.elapsed();
    let deferred = test_cluster.replicas[0]
        .metric("csr_warden_denials_deferred_total")
        .await?;
    ensure!(deferred as usize >= FORGERIES - 2, "{deferred} deferred");
    let after = memory(&test_cluster, 0)?;
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted,
        served: approved,
        denied,
        recovered: Duration::ZERO,
        memory: (before, after),
        note: format!("{deferred} denials deferred"),
    })
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let status = request.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    conditions
        .into_iter()
        .flatten()
        .any(|one| one.type_ == kind)
}
