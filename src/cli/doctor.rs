//! `csr-warden doctor`: checks the cluster setup for verifiable kubelet serving certificates.

mod progress;
mod text;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::cluster_args::{ClusterArgs, block_on};
use super::color::Paint;
use super::format::TextFormat;
use crate::doctor::{Options, Progress, Report, Severity, examine};
use crate::sources::{kubelet_ca, watched_file};

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 no problem, 1 problems, 2 error.\n\n\
    Nothing is written. To see whether NodeRestriction is on, another Node is patched \
    as one node, with dryRun=All; leave that out with --no-impersonation.")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Look at only so many nodes' kubelets, spread over the list [default: all]
    #[arg(long, value_name = "N",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    nodes: Option<usize>,
    /// Kubelets that are asked at the same time, 1 to 1024
    #[arg(long, default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// How many seconds one answer may take, 1 to 300
    #[arg(long, default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// CA certificates that kubelets' certificates are verified with [default: the cluster's]
    #[arg(long, value_name = "FILE")]
    kubelet_certificate_authority: Option<PathBuf>,
    /// Leave out the dry run as another node
    #[arg(long)]
    no_impersonation: bool,
    /// How the report is written
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT")]
    output: TextFormat,
}

/// Runs `doctor`: checks the cluster and reports findings.
pub(super) fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let kubelet_authorities = match &args.kubelet_certificate_authority {
        None => Vec::new(),
        Some(path) => {
            let pem = watched_file::read(path)?;
            kubelet_ca::parse_pem(pem.as_bytes())
                .map_err(|why| anyhow!("{}: {why}", path.display()))?
        }
    };
    let options = Options {
        nodes: args.nodes,
        concurrency: args.concurrency.into(),
        deadline: Duration::from_secs(args.timeout),
        kubelet_authorities,
        impersonate: !args.no_impersonation,
    };
    let report = block_on(async {
        let connection = args.cluster.connect().await?;
        let progress = Progress::default();
        let examined = examine(&connection, &options, &progress);
        Ok(progress::shown(&progress, examined).await?)
    })?;
    let for_people = || text::text(&report, Paint::on(&std::io::stdout()));
    let text = args.output.write(&report, for_people)?;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the report")?;
    Ok(exit_code(&report))
}

fn exit_code(report: &Report) -> ExitCode {
    match report.severity {
        Severity::Problem => ExitCode::from(1),
        Severity::Ok | Severity::Unknown | Severity::Warning => ExitCode::SUCCESS,
    }
}
