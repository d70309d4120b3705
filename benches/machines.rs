//! Benchmark of the cost of Machines: start time and memory of csr-warden with many Nodes.
//!
//! It runs on a real control plane, in turn with the default policy and with the policy for Cluster
//! API and a Machine for each Node.
//!
//!     cargo bench --bench machines
//!
//! Nothing is asserted. The figures are for the reader.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::install::Installation;
use futures::StreamExt as _;
use futures::stream;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// The program under test, built with the same profile.
const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");
const TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum number of concurrent requests of a client.
const CONCURRENCY: usize = 32;
const MACHINES: &str = "/apis/cluster.x-k8s.io/v1beta2/machines";
const RBAC_MANIFESTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/deploy/components/cluster-api/rights.yaml"
);

#[derive(Debug, Clone, Parser)]
struct Flags {
    /// Number of Nodes and of Machines
    #[arg(long, default_value_t = 5000)]
    nodes: usize,
    /// Number of starts with each policy
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Set by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    // `cargo test --benches` only checks that it can be built.
    if !flags.bench {
        say("run it with `cargo bench --bench machines`");
        return ExitCode::SUCCESS;
    }
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("machines: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(flags: &Flags) -> Result<()> {
    let (assets, runtime) = control_plane::prepare()?;
    runtime.block_on(measure(flags, &assets))
}

async fn measure(flags: &Flags, assets: &Assets) -> Result<()> {
    let cluster = Cluster::start(assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    cluster.kubectl(&["apply", "-f", RBAC_MANIFESTS]).await?;
    create(&cluster, flags.nodes).await?;
    say(&format!("{} Nodes, {} Machines", flags.nodes, flags.nodes));
    let listed = listed(&cluster).await?;
    say(&format!(
        "  a bare list of the Machines takes {listed:.2} s"
    ));
    let mut without = Vec::new();
    let mut with = Vec::new();
    for _ in 0..flags.rounds {
        without.push(started(&installation, "default").await?);
        with.push(started(&installation, "cluster-api").await?);
    }
    let (without, with) = (mean(&without), mean(&with));
    say(&format!(
        "with / without: start {:.2}, peak of memory {:.2}\n\
         start with / start without and a bare list: {:.2}",
        with.0 / without.0,
        with.1 / without.1,
        with.0 / (without.0 + listed)
    ));
    Ok(())
}

/// Returns the seconds that the API server takes to list all Machines, which are not parsed.
async fn listed(cluster: &Cluster) -> Result<f64> {
    let begun = Instant::now();
    let request = http::Request::get(MACHINES).body(Vec::new())?;
    cluster.admin().request_text(request).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Returns the seconds until the daemon is ready, and its peak memory by then in MiB.
async fn started(installation: &Installation, policy: &str) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let mut daemon = installation.start(policy, &["--policy", policy])?;
    daemon.wait_ready(TIMEOUT).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mib = daemon.peak_resident_kib()? as f64 / 1024.0;
    say(&format!(
        "  {policy:<12} ready after {seconds:.2} s, {:.2} s of CPU, peak {mib:.1} MiB",
        daemon.cpu_time()?.as_secs_f64()
    ));
    daemon.sigterm(TIMEOUT).await?;
    Ok((seconds, mib))
}

fn mean(all: &[(f64, f64)]) -> (f64, f64) {
    let count = all.len() as f64;
    let sum = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).sum::<f64>() / count;
    (sum(|one| one.0), sum(|one| one.1))
}

async fn create(cluster: &Cluster, count: usize) -> Result<()> {
    cluster.apply(&definition().to_string()).await?;
    let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
    let crd = "crd/machines.cluster.x-k8s.io";
    cluster.kubectl(&[wait.as_slice(), &[crd]].concat()).await?;
    let store = cluster.etcd_store();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "cluster.x-k8s.io",
        "v1beta2",
        "Machine",
    ));
    let machines: Api<DynamicObject> = Api::namespaced_with(cluster.admin(), "default", &resource);
    let each = stream::iter(0..count).map(|index| {
        let (machines, resource) = (machines.clone(), resource.clone());
        async move {
            let name = format!("worker-{index:05}");
            let ip = format!("10.{}.{}.7", index / 250, index % 250);
            let id = format!("test:///region/zone/{name}");
            store.put_node(&name, &node(&name, &ip, &id)).await?;
            let mut machine = DynamicObject::new(&name, &resource);
            machine.data = json!({"spec": {"clusterName": "c1", "providerID": id}});
            machines.create(&PostParams::default(), &machine).await?;
            let status = json!({"status": {
                "nodeRef": {"name": name},
                "addresses": [
                    {"type": "InternalIP", "address": ip},
                    {"type": "Hostname", "address": name},
                ],
            }});
            let params = PatchParams::default();
            machines
                .patch_status(&name, &params, &Patch::Merge(status))
                .await?;
            anyhow::Ok(())
        }
    });
    let mut each = each.buffer_unordered(CONCURRENCY);
    while let Some(created) = each.next().await {
        created.context("cannot create")?;
    }
    Ok(())
}

fn node(name: &str, ip: &str, id: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"providerID": id},
        "status": {"addresses": [
            {"type": "InternalIP", "address": ip},
            {"type": "Hostname", "address": name},
        ]},
    })
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "machines.cluster.x-k8s.io"},
        "spec": {
            "group": "cluster.x-k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "Machine", "plural": "machines"},
            "versions": [{
                "name": "v1beta2",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
