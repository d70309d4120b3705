//! The commands of `docs/`, run word for word. Each `sh` block of each page is a script.
//!
//! They use a real API server and real programs. The program of a Deployment runs as a process, and
//! a fake kubelet returns its log to `kubectl logs`.

mod cluster;
mod script;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use cluster::PagesCluster;
use script::{Block, EXCEPTIONS, Exception, blocks};

use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::manifests::ROOT;

pub fn cases() -> Vec<Case> {
    vec![Case::new("pages_have_commands_that_run", Needs::Tools, run)]
}

/// The order of the pages. Those that change the API server's rules or remove csr-warden are last.
const ORDER: [&str; 13] = [
    "install",
    "commands",
    "metrics",
    "enable",
    "audit",
    "doctor",
    "runbooks",
    "troubleshooting",
    "coming-from-others",
    "hardening",
    "upgrade",
    "policy",
    "verify-release",
];

/// Pages that need a cluster of their own: `cases/story`, `cases/tutorials` and `cases/manifests` run them.
const ELSEWHERE: [&str; 3] = [
    "tutorials/metrics-server-and-hpa",
    "tutorials/demo",
    "check",
];

async fn run(assets: Arc<Assets>) -> Result<()> {
    let mut left: BTreeSet<String> = pages()?;
    let mut used = BTreeSet::new();
    let mut pages_cluster = PagesCluster::start(&assets).await?;
    for page in ORDER {
        left.remove(page);
        let text = std::fs::read_to_string(format!("{ROOT}/docs/{page}.md"))?;
        pages_cluster.begin(page, &text).await?;
        for block in blocks(&text) {
            pages_cluster.refresh().await?;
            let script = block.script(&mut used);
            pages_cluster.run(page, &block, &script).await?;
        }
    }
    for page in ELSEWHERE {
        ensure!(left.remove(page), "docs/{page}.md is not there");
    }
    for page in left {
        let text = std::fs::read_to_string(format!("{ROOT}/docs/{page}.md"))?;
        let found = blocks(&text).into_iter().next();
        let Block { line, .. } = match found {
            Some(block) => block,
            None => continue,
        };
        anyhow::bail!("docs/{page}.md has commands (line {line}) and is not in the order here");
    }
    for (index, (begins, how)) in EXCEPTIONS.iter().enumerate() {
        let why = match how {
            Exception::Elsewhere(why) | Exception::Exits(_, why) => why,
        };
        ensure!(
            used.contains(&index),
            "no page has a command `{begins}`, which is an exception here: {why}"
        );
    }
    Ok(())
}

fn pages() -> Result<BTreeSet<String>> {
    let docs = Path::new(ROOT).join("docs");
    let mut pages = BTreeSet::new();
    for folder in ["", "distributions/", "tutorials/"] {
        for entry in std::fs::read_dir(docs.join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let page = name.strip_suffix(".md");
            pages.extend(page.map(|page| format!("{folder}{page}")));
        }
    }
    Ok(pages)
}

impl PagesCluster {
    /// Runs a block. Every command in it must succeed.
    async fn run(&self, page: &str, block: &Block, script: &str) -> Result<()> {
        let mut command = Command::new("bash");
        // A user's shell, which stops at the first failure.
        command.args(["-e", "-u", "-o", "pipefail", "-c", script]);
        self.set_environment(&mut command);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "docs/{page}.md, line {}: {}\n{script}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            block.line,
            output.status,
        );
        Ok(())
    }
}
