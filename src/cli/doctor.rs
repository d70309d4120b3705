//! `csr-warden doctor`: checks the cluster setup for verifiable kubelet serving certificates.

mod node_verdicts;
mod policy_lines;
mod progress;
mod text;
mod verdict_table;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::cluster_args::block_on;
use super::color::Paint;
use super::format::ReportFormat;
use super::live::{AddressAges, LiveArgs};
use crate::doctor::{Options, Progress, Report, Severity, examine};

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 no problem, 1 problems, 2 error.\n\n\
    Nothing is written. To see whether NodeRestriction is on, another Node is patched \
    as one node, with dryRun=All; leave that out with --no-impersonation.\n\n\
    Each Node is judged by the policy as if its kubelet had just asked for a certificate. \
    Below the verdicts are policy lines, commented out, that would let more Nodes \
    through.\n\n\
    Examples:\n  csr-warden doctor\n  csr-warden doctor --policy strict -o wide\n  \
    csr-warden doctor | sed -n 's/^# //p' > policy.yaml")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    live: LiveArgs,
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
    /// Leave out the dry run as another node
    #[arg(long)]
    no_impersonation: bool,
    /// How the report is written
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Text, value_name = "FORMAT")]
    output: ReportFormat,
}

/// Runs `doctor`: checks the cluster and reports findings.
pub(super) fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let report = block_on(async {
        let mut lookout = args.live.lookout(true).await?;
        // Nothing is written, so addresses of any age count, and a report without requests is of use.
        lookout.addresses = AddressAges::Unlimited;
        lookout.needs_requests = false;
        let options = Options {
            nodes: args.nodes,
            concurrency: args.concurrency.into(),
            deadline: Duration::from_secs(args.timeout),
            kubelet_authorities: lookout.authorities.clone(),
            service_networks: lookout.policy.spec.protected.service_networks.clone(),
            impersonate: !args.no_impersonation,
        };
        let connection = lookout.connection.clone();
        let progress = Progress::default();
        let verdicts = node_verdicts::node_verdicts(&mut lookout);
        let examined = examine(&connection, &options, &progress, verdicts);
        Ok(progress::shown(&progress, examined).await?)
    })?;
    let for_people = |wide| text::text(&report, wide, Paint::on(&std::io::stdout()));
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
