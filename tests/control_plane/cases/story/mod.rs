//! `docs/story.md` from its first line to its last: its commands are run as they stand there, and each
//! message that it quotes must be seen.
//!
//! All programs are the real ones: the control plane, two whole kubelets with made-up containers,
//! metrics-server, Prometheus, Helm, and csr-warden as its chart installs it.

mod cluster;
mod page;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::StoryCluster;
use page::{PAGE, Step, steps};

use crate::{Case, Needs};
use control_plane::assets::Assets;

/// How long a message may take. metrics-server wants two looks at a kubelet, 10 s apart; a certificate
/// of [`cluster::CERTIFICATE`] is renewed within a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a command is tried anew until it says what the page says.
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

/// Runs a step: once if the page quotes nothing of it, else until it says that.
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
