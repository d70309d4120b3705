//! Files that the daemon reads and writes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::fleet;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, run_scenario};
use crate::test_cluster::TestCluster;
use control_plane::config_map_volume::ConfigMapVolume;

const SOON: Duration = Duration::from_secs(20);
const INVENTORY: &str = include_str!("../../../policies/inventory.yaml");
const POLICY: &str = include_str!("../../../policies/default.yaml");

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_policy_broken",
            "the policy file is broken, then fixed: the last valid policy stays in force",
            policy_broken,
        ),
        Case::new(
            "embedded_inventory_broken",
            "the inventory file is broken, then fixed: the last valid inventory stays in force",
            inventory_broken,
        ),
        Case::new(
            "embedded_policy_half_written",
            "the policy file is written in place, and stays half written: the last valid policy stays in force",
            policy_half_written,
        ),
        Case::new(
            "embedded_inventory_half_written",
            "the inventory file is written in place, and stays half written: the last valid inventory stays in force",
            inventory_half_written,
        ),
        Case::new(
            "embedded_logs_disk_full",
            "the disk behind stdout and stderr is full, from the beginning to the end",
            disk_full,
        ),
    ]
}

async fn policy_broken(scale: Scale) -> Result<Measured> {
    let file = "policy.yaml";
    let broken = "apiVersion: csr-warden/v2\nkind: Policy\n";
    let refused = "the policy cannot be used";
    let run = |path: String| vec!["--policy".to_owned(), path];
    broken_then_fixed(scale, file, POLICY, broken, refused, run).await
}

async fn inventory_broken(scale: Scale) -> Result<Measured> {
    let file = "inventory.yaml";
    let good = inventory(&scale);
    let half = good.len() / 2;
    let broken = good.get(..half).context("half of it")?;
    let refused = "inventory cannot be read";
    let run = |path: String| {
        let args = ["--policy", "inventory", "--inventory"];
        let mut args: Vec<String> = args.map(str::to_owned).into();
        args.push(path);
        args
    };
    broken_then_fixed(scale, file, &good, broken, refused, run).await
}

fn inventory(scale: &Scale) -> String {
    let nodes: Vec<Value> = (1..=scale.kubelets)
        .map(|index| json!({"name": fleet::name(index), "addresses": [fleet::address(index)]}))
        .collect();
    json!({"apiVersion": "csr-warden.dev/v1beta1", "kind": "Inventory", "nodes": nodes}).to_string()
}

async fn broken_then_fixed(
    scale: Scale,
    file: &str,
    good: &str,
    broken: &str,
    refused: &str,
    args: impl Fn(String) -> Vec<String>,
) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    let mut volume = ConfigMapVolume::new(test_cluster.dir().join("mounted"), file, good)?;
    let args = args(volume.path(file)?);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    test_cluster.start(&["one"], &args).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        volume.swap(file, broken)?;
        test_cluster.replicas[0].wait_for_log(refused, SOON).await?;
        sleep(lasts).await;
        volume.swap(file, good)?;
        Ok(())
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.fault,
        Expectations::default(),
        during,
    )
    .await
}

/// Half of the policy is a valid one that is laxer.
async fn policy_half_written(scale: Scale) -> Result<Measured> {
    let lines: Vec<&str> = INVENTORY.lines().collect();
    let proof = lines.iter().position(|line| line.trim() == "proof:");
    let head = lines.get(..proof.context("`proof:` in inventory.yaml")?);
    let half = head.context("lines")?.join("\n") + "\n";
    judge::policy::parse(&half).context("half of the policy is valid")?;
    let nodes = inventory(&scale);
    let files = [("policy.yaml", INVENTORY), ("inventory.yaml", &nodes)];
    let same = "csr_warden_policy_info{name=\"inventory\"";
    let digest = judge::policy::parse(INVENTORY)?.digest;
    let same = format!("{same},digest=\"{digest}\"}}");
    half_written(scale, files, 0, &half, &same).await
}

/// Half of the inventory does not contradict forged addresses of the others.
async fn inventory_half_written(scale: Scale) -> Result<Measured> {
    let nodes = inventory(&scale);
    let half = json!({"apiVersion": "csr-warden.dev/v1beta1", "kind": "Inventory", "nodes": []});
    let policy = POLICY.replace("name: default", "name: mine");
    let files = [("policy.yaml", policy.as_str()), ("inventory.yaml", &nodes)];
    let counted = "csr_warden_source_errors_total{source=\"inventory\"}";
    half_written(scale, files, 1, &half.to_string(), counted).await
}

async fn half_written(
    scale: Scale,
    files: [(&str, &str); 2],
    which: usize,
    half: &str,
    is_one: &str,
) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    let mut args = Vec::new();
    let mut paths = Vec::new();
    for ((name, text), flag) in files.iter().zip(["--policy", "--inventory"]) {
        let path = test_cluster.dir().join(name);
        std::fs::write(&path, text)?;
        args.push(format!("{flag}={}", path.display()));
        paths.push(path);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    test_cluster.start(&["one"], &args).await?;
    let (path, text) = (paths[which].clone(), files[which].1);
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        std::fs::write(&path, half)?;
        let daemon = &test_cluster.replicas[0];
        daemon.wait_for_log("edited in place", SOON).await?;
        sleep(lasts).await;
        ensure!(daemon.metric(is_one).await? == 1, "{is_one}");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, &path)?;
        Ok(())
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.fault,
        Expectations::default(),
        during,
    )
    .await
}

async fn disk_full(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start_by("exec \"$0\" \"$@\" >/dev/full 2>/dev/full".into());
    test_cluster.start(&["one"], &[]).await?;
    let during = async |_: &mut TestCluster, lasts: Duration| {
        sleep(lasts).await;
        Ok(())
    };
    run_scenario(
        &mut test_cluster,
        &scale,
        scale.fault,
        Expectations::default(),
        during,
    )
    .await
}
