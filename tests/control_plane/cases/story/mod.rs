//! `docs/tutorials/metrics-server-and-hpa.md`, run end to end. Its commands are run word for word, and each quoted message
//! must appear.
//!
//! All programs are real: the control plane, two hollow nodes, metrics-server, Prometheus, Helm,
//! and csr-warden as installed by its chart.

mod cluster;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::StoryCluster;

use super::quoted_page::{Step, steps};
use crate::{Case, Needs};
use control_plane::assets::Assets;

const PAGE: &str = include_str!("../../../../docs/tutorials/metrics-server-and-hpa.md");
/// The deadline for a message. metrics-server needs two samples of a kubelet, 10 s apart. A
/// certificate of [`cluster::CERTIFICATE`] is renewed within a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// The interval at which a command is repeated until its output matches the page.
const AGAIN: Duration = Duration::from_millis(500);

pub fn cases() -> Vec<Case> {
    vec![Case::new("story", Needs::Story, run)]
}

async fn run(assets: Arc<Assets>) -> Result<()> {
    let begun = Instant::now();
    let mut story_cluster = StoryCluster::start(&assets).await?;
    eprintln!("story: a cluster after {:.1} s", seconds(begun));
    let steps = steps(PAGE)?;
    ensure!(!steps.is_empty(), "the page has no commands");
    for step in &steps {
        let since = Instant::now();
        let said = until_said(&story_cluster, step).await?;
        story_cluster.follow(&step.script).await?;
        eprintln!(
            "\nstory: line {}, {:.1} s, at {:.1} s\n{}\n---\n{said}",
            step.line,
            seconds(since),
            seconds(begun),
            step.script.trim_end(),
        );
    }
    story_cluster.end().await
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Runs a step: once if the page quotes no output, otherwise until the output matches.
async fn until_said(story_cluster: &StoryCluster, step: &Step) -> Result<String> {
    let begun = Instant::now();
    loop {
        let (succeeded, said) = story_cluster.shell(&step.script).await?;
        let Some(quoted) = &step.quoted else {
            ensure!(succeeded, "line {}: {}\n{said}", step.line, step.script);
            return Ok(said);
        };
        let missing = quoted.missing_in(&said);
        if missing.is_empty() {
            return Ok(said);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "line {}: {}\ndoes not say\n{}\nbut\n{said}\n{}",
            step.line,
            step.script,
            missing.join("\n"),
            story_cluster.logs(),
        );
        tokio::time::sleep(AGAIN).await;
    }
}
