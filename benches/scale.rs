//! `csr-warden bench cluster` on a real control plane, with the rights that the manifests give.
//!
//!     cargo bench --bench scale
//!     cargo bench --bench scale -- --nodes 1000,5000,15000 --write
//!     cargo bench --bench scale -- --neighbor --rounds 5
//!
//! Nothing is asserted. The figures are for the reader. Without a signer (the default) only the
//! approver is measured. With `--signer`, the controller-manager signs at the same time.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::install::Installation;

/// The program under test, built with the same profile.
const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");
/// The output of `--write`, beside cargo's `tmp` in the target directory.
const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../performance.txt");

#[derive(Debug, Clone, Parser)]
struct Flags {
    /// Numbers of Nodes, one column each
    #[arg(long, default_value = "2000")]
    nodes: String,
    /// Number of backlogs for each approver
    #[arg(long, default_value = "2")]
    rounds: String,
    /// Program to measure, instead of the one of this profile
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    /// Let the controller-manager sign while requests are approved
    #[arg(long)]
    signer: bool,
    /// Run `csr-warden bench neighbor` instead
    #[arg(long, conflicts_with_all = ["nodes", "write"])]
    neighbor: bool,
    /// Also measure the judge alone, and write all figures to target/performance.txt
    #[arg(long)]
    write: bool,
    /// Set by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    // `cargo test --benches` only checks that it can be built.
    if !flags.bench {
        say("run it with `cargo bench --bench scale`\n");
        return ExitCode::SUCCESS;
    }
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("scale: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}

fn start(flags: &Flags) -> Result<()> {
    let (assets, runtime) = control_plane::prepare()?;
    runtime.block_on(measure(flags, &assets))
}

async fn measure(flags: &Flags, assets: &Assets) -> Result<()> {
    let options = Options {
        signer: flags.signer,
        ..Options::default()
    };
    let cluster = Cluster::start(assets, options).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut args: Vec<&OsStr> = vec![
        if flags.neighbor {
            "neighbor"
        } else {
            "cluster"
        }
        .as_ref(),
        "--yes".as_ref(),
        "--kubeconfig".as_ref(),
        cluster.admin_kubeconfig().as_ref(),
        "--daemon-kubeconfig".as_ref(),
        installation.kubeconfig().as_ref(),
        "--rounds".as_ref(),
        flags.rounds.as_ref(),
    ];
    if !flags.neighbor {
        args.extend(["--nodes".as_ref(), OsStr::new(&flags.nodes)]);
    }
    if let Some(daemon) = &flags.daemon {
        args.extend(["--daemon".as_ref(), daemon.as_os_str()]);
    }
    let whole_way = bench(&args)?;
    say(&whole_way);
    if flags.write {
        let judge = bench(&["judge".as_ref()])?;
        say(&format!("\n{judge}"));
        write(&whole_way, &judge)?;
    }
    Ok(())
}

/// Returns the output of `csr-warden bench`.
fn bench(args: &[&OsStr]) -> Result<String> {
    let output = Command::new(BINARY)
        .arg("bench")
        .args(args)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "csr-warden bench has failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn write(whole_way: &str, judge: &str) -> Result<()> {
    // The port in the server's URL differs in each run.
    let (_, whole_way) = whole_way.split_once(' ').context("no server")?;
    let processors = std::thread::available_parallelism()?;
    let text = format!("kube-apiserver {whole_way}\n{judge}\nprocessors: {processors}\n");
    std::fs::write(OUTPUT, text).context(OUTPUT)?;
    let path = Path::new(OUTPUT).canonicalize()?;
    say(&format!("\nwritten to {}\n", path.display()));
    Ok(())
}

fn say(text: &str) {
    let _ = write!(std::io::stdout().lock(), "{text}");
}
