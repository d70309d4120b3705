//! `csr-warden doctor`: checks the cluster setup for verifiable kubelet serving certificates.

pub(super) mod fleet;
mod node_verdicts;
mod policy_lines;
mod progress;
mod text;
mod verdict_table;

use std::cmp::Reverse;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::cluster_args::block_on;
use super::color::Paint;
use super::contexts::ContextsArgs;
use super::format::ReportFormat;
use super::live::{AddressAges, LiveArgs};
use super::render::print;
use crate::doctor::{Options, Progress, Report, Severity, examine};
use fleet::Fleet;

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no problem, 1 problems, 2 error. With several contexts the worst \
    cluster's counts: 2, 1, then 0.\n\n\
    Nothing is written. To detect whether NodeRestriction is on, doctor impersonates one node \
    and patches another Node, with dryRun=All; skip that with --no-impersonation.\n\n\
    Each Node is judged by the policy as if its kubelet had just requested a \
    certificate. Below the verdicts are policy lines, commented out, that would approve more \
    Nodes.\n\n\
    Examples:\n  csr-warden doctor\n  csr-warden doctor --policy strict -o wide\n  \
    csr-warden doctor --contexts prod-a,prod-b\n  csr-warden doctor | sed -n 's/^# //p' > policy.yaml"
)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    contexts: ContextsArgs,
    /// Check only this number of nodes' kubelets, spread over the list [default: all]
    #[arg(long, value_name = "N",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    nodes: Option<usize>,
    /// Number of kubelets to check at the same time, 1 to 1024
    #[arg(long, default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Time limit of one answer in seconds, 1 to 300
    #[arg(long, default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// Skip the dry run as another node
    #[arg(long)]
    no_impersonation: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Text, value_name = "FORMAT")]
    output: ReportFormat,
}

/// Runs `doctor`: checks the cluster, or several side by side, and reports findings.
pub(super) fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let Some(contexts) = args.contexts.names(&args.live)? else {
        return one(args);
    };
    let clusters = block_on(async {
        let examined = args.contexts.examine(contexts, async |name| {
            examine_cluster(args, &args.live.in_context(name), None).await
        });
        Ok(examined.await)
    })?;
    let fleet = Fleet { clusters };
    let for_people = |wide| fleet::text(&fleet, wide, Paint::on(&std::io::stdout()));
    print(&args.output.write(&fleet, for_people)?)?;
    let reports = fleet.clusters.iter().map(|cluster| cluster.report.as_ref());
    Ok(
        match reports
            .map(|report| report.map(|report| report.severity))
            .min_by_key(rank)
        {
            Some(None) => ExitCode::from(2),
            Some(Some(severity)) => exit_code(severity),
            None => ExitCode::SUCCESS,
        },
    )
}

/// The worst comes first: a cluster that could not be examined, then problems.
fn rank(severity: &Option<Severity>) -> (bool, Reverse<Option<Severity>>) {
    (severity.is_some(), Reverse(*severity))
}

fn one(args: &DoctorArgs) -> Result<ExitCode> {
    let progress = Progress::default();
    let report = block_on(examine_cluster(args, &args.live, Some(&progress)))?;
    let for_people = |wide| text::text(&report, wide, Paint::on(&std::io::stdout()));
    print(&args.output.write(&report, for_people)?)?;
    Ok(exit_code(report.severity))
}

/// Checks one cluster. Shows its progress, if there is one.
async fn examine_cluster(
    args: &DoctorArgs,
    live: &LiveArgs,
    progress: Option<&Progress>,
) -> Result<Report> {
    let mut lookout = live.lookout(true).await?;
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
    let verdicts = node_verdicts::node_verdicts(&mut lookout);
    Ok(match progress {
        Some(progress) => {
            let examined = examine(&connection, &options, progress, verdicts);
            progress::shown(progress, examined).await?
        }
        None => examine(&connection, &options, &Progress::default(), verdicts).await?,
    })
}

fn exit_code(severity: Severity) -> ExitCode {
    match severity {
        Severity::Problem => ExitCode::from(1),
        Severity::Ok | Severity::Unknown | Severity::Warning => ExitCode::SUCCESS,
    }
}
