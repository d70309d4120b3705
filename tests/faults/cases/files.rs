//! Files that the daemon reads and writes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::fleet;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, run_scenario};
use crate::test_cluster::TestCluster;
use control_plane::config_map_volume::ConfigMapVolume;

const SOON: Duration = Duration::from_secs(20);
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
    let nodes: Vec<Value> = (1..=scale.kubelets)
        .map(|index| json!({"name": fleet::name(index), "addresses": [fleet::address(index)]}))
        .collect();
    let good = json!({"apiVersion": "csr-warden.dev/v1beta1", "kind": "Inventory", "nodes": nodes});
    let good = good.to_string();
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
