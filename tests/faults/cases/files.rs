//! What the daemon reads and writes on its own disk.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::fleet;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, Terms, endure};
use crate::test_cluster::Stage;
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

async fn policy_broken(numbers: Numbers) -> Result<Seen> {
    let file = "policy.yaml";
    let broken = "apiVersion: csr-warden/v2\nkind: Policy\n";
    let refused = "the policy cannot be used";
    let run = |path: String| vec!["--policy".to_owned(), path];
    broken_and_mended(numbers, file, POLICY, broken, refused, run).await
}

async fn inventory_broken(numbers: Numbers) -> Result<Seen> {
    let file = "inventory.yaml";
    let nodes: Vec<Value> = (1..=numbers.kubelets)
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
    broken_and_mended(numbers, file, &good, broken, refused, run).await
}

async fn broken_and_mended(
    numbers: Numbers,
    file: &str,
    good: &str,
    broken: &str,
    refused: &str,
    args: impl Fn(String) -> Vec<String>,
) -> Result<Seen> {
    let mut stage = Stage::embedded().await?;
    let mut volume = ConfigMapVolume::new(stage.dir().join("mounted"), file, good)?;
    let args = args(volume.path(file)?);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    stage.start(&["one"], &args).await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        volume.swap(file, broken)?;
        stage.replicas[0].wait_says(refused, SOON).await?;
        sleep(lasts).await;
        volume.swap(file, good)?;
        Ok(())
    };
    endure(
        &mut stage,
        &numbers,
        numbers.fault,
        Terms::default(),
        during,
    )
    .await
}

async fn disk_full(numbers: Numbers) -> Result<Seen> {
    let mut stage = Stage::embedded().await?;
    stage.start_by("exec \"$0\" \"$@\" >/dev/full 2>/dev/full".into());
    stage.start(&["one"], &[]).await?;
    let during = async |_: &mut Stage, lasts: Duration| {
        sleep(lasts).await;
        Ok(())
    };
    endure(
        &mut stage,
        &numbers,
        numbers.fault,
        Terms::default(),
        during,
    )
    .await
}
