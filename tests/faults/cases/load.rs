//! Many concurrent requests, and a period of certificate rotation with continuous faults.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use apiserver_sim::{Fault, Faults, Server};
use csr_warden::controller::WRITES_AT_ONCE;
use futures::StreamExt as _;
use k8s_openapi::ByteString;
use kube::Client;
use lab::fleet;
use lab::random::SeededRng;
use lab::request::Template;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::fleet::{Attacks, Kubelets, VICTIM_COUNT};
use crate::memory_limit::MemoryLimit;
use crate::scale::Scale;
use crate::scenario::{Measured, all_served, end, memory, no_forgery_was_approved, settled_memory};
use crate::test_cluster::TestCluster;
use control_plane::manifests;

const DEPLOYMENT: &str = include_str!("../../../deploy/base/deployment.yaml");
/// The daemon's memory for one connection, in KiB. After an outage there is one for each concurrent
/// write.
const CONNECTION: u64 = 44;
/// The maximum number of concurrent requests.
const CONCURRENCY: usize = 16;
/// The number of renewals of each kubelet in the case.
const RENEWALS: f64 = 5.0;
const SEED: u64 = 24;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_memory_limit",
            "a fleet of thousands sends requests at the same moment",
            memory_limit,
        )
        .heavy(),
        Case::new(
            "embedded_rotation",
            "a day in minutes: two replicas, proportionally shorter certificate lifetimes, a random fault every few seconds",
            rotation,
        )
        .heavy(),
    ]
}

/// Returns the Deployment's memory limit in KiB.
pub(super) fn limit() -> Result<u64> {
    let objects = manifests::objects(DEPLOYMENT)?;
    let deployment = objects.values().next().context("a Deployment")?;
    let limit = deployment.pointer("/spec/template/spec/containers/0/resources/limits/memory");
    let limit = limit.and_then(Value::as_str).context("a limit")?;
    let mib: u64 = limit.strip_suffix("Mi").context("in Mi")?.parse()?;
    Ok(mib * 1024)
}

/// All kubelets make requests while the daemon is paused, like a fleet whose approver was down. An
/// administrator posts each request on the kubelet's behalf, so there are no connections of
/// kubelets.
async fn memory_limit(scale: Scale) -> Result<Measured> {
    let limit = limit()?;
    // Before the cluster, so that it is dropped after it.
    let group = MemoryLimit::new("csr-warden", limit);
    let mut test_cluster = TestCluster::embedded().await?;
    if let Some(group) = &group {
        let members = group.members();
        let script = format!("echo $$ >{} && exec \"$0\" \"$@\"", members.display());
        test_cluster.start_by(script);
    }
    test_cluster.start(&["one"], &[]).await?;
    let before = memory(&test_cluster, 0)?;
    let admin = test_cluster.admin()?;
    test_cluster.replicas[0].pause()?;
    let begun = Instant::now();
    let all = 1..=VICTIM_COUNT + scale.requests;
    let posts = all.map(|index| post(&admin, index));
    let mut posts = futures::stream::iter(posts).buffer_unordered(CONCURRENCY);
    while let Some(posted) = posts.next().await {
        posted?;
    }
    drop(posts);
    let mut attacks = Attacks::begin(&test_cluster, scale.forgeries, Duration::ZERO, SEED).await?;
    test_cluster.replicas[0].resume()?;
    let ended = Instant::now();
    let served = all_served(&test_cluster, scale.patience).await?;
    let recovered = ended.elapsed();
    ensure!(served == scale.requests, "{served} served");
    let denied = attacks.denied(scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    test_cluster.only_leaders_wrote()?;
    let after = memory(&test_cluster, 0)?;
    // A process over the limit of its group is killed. Without a group only its peak memory is
    // known.
    let peak = match &group {
        Some(group) => group.peak_kib()?,
        None => test_cluster.replicas[0].peak_resident_kib()?,
    };
    ensure!(peak <= limit, "{peak} KiB at most, allowed are {limit} KiB");
    end(&mut test_cluster).await?;
    let held = match group {
        Some(_) => ", to which the kernel holds it",
        None => "",
    };
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(Measured {
        lasted: ended - begun,
        served,
        denied,
        recovered,
        memory: (before, after),
        note: format!(
            "{} Nodes and as many requests of theirs; at most {:.1} MiB, the Deployment allows \
             {:.0}{held}",
            scale.requests,
            mib(peak),
            mib(limit)
        ),
    })
}

async fn post(admin: &Client, index: usize) -> Result<()> {
    register(admin, index).await?;
    if index <= VICTIM_COUNT {
        return Ok(());
    }
    ask(admin, index).await
}

/// Posts a request of this kubelet without waiting for a decision.
pub(super) async fn ask(admin: &Client, index: usize) -> Result<()> {
    let (name, address) = (fleet::name(index), fleet::address(index));
    let template = Template::genuine(&name, std::slice::from_ref(&name), &[address]);
    post_request(admin, &name, &template.pem(&KeyPair::generate()?)?).await
}

/// Posts a request as the kubelet of this node.
pub(super) async fn post_request(admin: &Client, node: &str, pem: &str) -> Result<()> {
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": ByteString(pem.as_bytes().to_vec()),
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
        },
    });
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    as_kubelet(admin, node, requests, &request).await
}

/// Creates the Node of this kubelet.
pub(super) async fn register(admin: &Client, index: usize) -> Result<()> {
    let (name, address) = (fleet::name(index), fleet::address(index));
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"addresses": [
            {"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": address},
        ]},
    });
    as_kubelet(admin, &name, "/api/v1/nodes", &node).await
}

/// Posts an object as the kubelet of this node.
pub(super) async fn as_kubelet(
    admin: &Client,
    node: &str,
    path: &str,
    object: &Value,
) -> Result<()> {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .header("impersonate-user", format!("system:node:{node}"))
        .header("impersonate-group", "system:nodes")
        .body(object.to_string().into_bytes())?;
    admin
        .request::<Value>(request)
        .await
        .with_context(|| format!("{path} as {node}"))?;
    Ok(())
}

async fn rotation(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start(&["one", "two"], &[]).await?;
    let kubelets = Kubelets::new(&test_cluster, scale.rotating).await?;
    let mut grown = kubelets.ask(0..kubelets.count(), scale.day / 10);
    grown.served(scale.patience).await?;
    // Of both replicas, because either can lead at the end.
    let before = [memory(&test_cluster, 0)?, memory(&test_cluster, 1)?];

    let until = Instant::now() + scale.day;
    let mut attacks = Attacks::begin(&test_cluster, scale.forgeries, scale.day, SEED).await?;
    let life = scale.day.div_f64(RENEWALS);
    let faults = random_faults(&mut test_cluster, until);
    let (rotated, faults) = tokio::join!(kubelets.rotate(life, until, SEED), faults);
    let (rotated, (faults, ended)) = (rotated?, faults?);
    let served = all_served(&test_cluster, scale.patience).await?;
    let recovered = ended.elapsed();
    ensure!(served >= rotated + kubelets.count(), "{served} served");
    let denied = attacks.denied(scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    test_cluster.only_leaders_wrote()?;
    let leader = test_cluster.leader().await?;
    let connected = before[leader] + u64::from(WRITES_AT_ONCE) * CONNECTION;
    let after = settled_memory(&test_cluster, leader, connected).await?;
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted: scale.day,
        served,
        denied,
        recovered,
        memory: (before[leader], after),
        note: format!(
            "{} kubelets renewed {rotated} certificates during {faults} faults",
            kubelets.count()
        ),
    })
}

/// Injects one random fault after the other until this instant. Returns their number, and the time
/// when the last one ended.
async fn random_faults(test_cluster: &mut TestCluster, until: Instant) -> Result<(usize, Instant)> {
    let mut choices = SeededRng::new(SEED);
    let mut count = 0;
    while Instant::now() < until {
        let lasts = Duration::from_millis(1_000 + 250 * choices.below(17) as u64);
        let which = choices.below(KINDS.len() + 5);
        match which.checked_sub(KINDS.len()) {
            None => {
                let server = test_cluster.server()?;
                let fault = KINDS[which].clone();
                server.set_faults(Faults::default().with(fault, 0.5, "", ""));
                server.drop_watches();
                sleep(lasts).await;
                server.set_faults(Faults::default());
                server.drop_watches();
            }
            Some(0) => {
                let server = test_cluster.server()?;
                server.kill().await;
                sleep(lasts).await;
                server.restart().await?;
            }
            Some(1) => {
                test_cluster.server()?.freeze();
                sleep(lasts).await;
                test_cluster.server()?.thaw();
            }
            Some(2) => repeated(test_cluster.server()?, lasts, Server::reset_connections).await,
            Some(3) => repeated(test_cluster.server()?, lasts, Server::compact).await,
            Some(_) => {
                let leader = test_cluster.leader().await?;
                test_cluster.replicas[leader].pause()?;
                sleep(lasts).await;
                test_cluster.replicas[leader].resume()?;
            }
        }
        count += 1;
        // Then no fault for the same time.
        sleep(lasts).await;
    }
    Ok((count, Instant::now()))
}

const KINDS: [Fault; 9] = [
    Fault::Delay(Duration::from_secs(1)),
    Fault::TooManyRequests(1),
    Fault::Internal,
    Fault::Unavailable,
    Fault::Conflict,
    Fault::DropWatch(3),
    Fault::Late(Duration::from_secs(1)),
    Fault::Duplicate,
    Fault::Reorder,
];

async fn repeated(server: &Server, lasts: Duration, fault: impl Fn(&Server)) {
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        fault(server);
        server.drop_watches();
        sleep(Duration::from_millis(500)).await;
    }
}
