//! `docs/tutorials/demo.md`: its commands are run word for word beside a kept demo, and each quoted line must
//! appear.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::quoted_page::{Step, steps};
use crate::{BINARY, Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;

const PAGE: &str = include_str!("../../../docs/tutorials/demo.md");
/// The command that starts the demo, as the page has it.
const START: &str = "cargo run --release -- demo";
const DEADLINE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    vec![Case::new("tutorial_of_the_demo", Needs::Tools, demo)]
}

/// A running demo, killed when dropped.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn demo(assets: Arc<Assets>) -> Result<()> {
    tokio::task::spawn_blocking(move || follow(&assets)).await?
}

fn follow(assets: &Assets) -> Result<()> {
    let start = PAGE.lines().find_map(|line| line.strip_prefix(START));
    let flags = start.context("no command that starts the demo")?;
    let mut command = Command::new(BINARY);
    command.arg("demo").args(flags.split_whitespace());
    let mut kept = Kept(command.stdout(Stdio::piped()).spawn()?);
    // The demo ends when its reader is gone.
    let mut lines = BufReader::new(kept.0.stdout.take().context("stdout")?).lines();
    let kubeconfig = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let path = line.trim().strip_prefix("export KUBECONFIG=")?;
        Some(path.to_owned())
    });
    let kubeconfig = kubeconfig.context("the demo names no kubeconfig")?;

    let directory = tempfile::tempdir()?;
    let programs = directory.path().join("bin");
    std::fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(BINARY, programs.join("csr-warden"))?;
    std::os::unix::fs::symlink(&assets.kubectl, programs.join("kubectl"))?;
    let mut path = vec![programs];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let path = std::env::join_paths(path)?;

    let steps = steps(PAGE)?;
    ensure!(steps.len() > 5, "the page has {} commands", steps.len());
    for step in &steps {
        run(step, || {
            let mut shell = Command::new("bash");
            shell
                .args(["-e", "-u", "-o", "pipefail", "-c", &step.script])
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .env_clear()
                .env("PATH", &path)
                .env("HOME", directory.path())
                .env("KUBECONFIG", &kubeconfig);
            shell
        })?;
    }
    Ok(())
}

/// Runs a step: once if the page quotes no output, otherwise until the output matches.
fn run(step: &Step, shell: impl Fn() -> Command) -> Result<()> {
    let begun = Instant::now();
    loop {
        let output = shell().output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let quoted = step.quoted.as_ref();
        let missing = quoted.map_or_else(Vec::new, |quoted| quoted.missing_in(&said));
        if output.status.success() && missing.is_empty() {
            return Ok(());
        }
        ensure!(
            quoted.is_some() && begun.elapsed() < DEADLINE,
            "line {}: {}\ndoes not say\n{}\nbut\n{said}{}",
            step.line,
            step.script,
            missing.join("\n"),
            String::from_utf8_lossy(&output.stderr),
        );
        std::thread::sleep(POLL_INTERVAL);
    }
}
