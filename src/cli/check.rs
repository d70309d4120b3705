//! `csr-warden check`: judges requests from files, without a cluster.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;

use super::format::TextFormat;
use super::offline::{self, Offline, Terms};
use super::{judging_args, policy, render};
use crate::cluster::clock::Clock;
use judge::csr::{NODE_USER_PREFIX, Requestor};
use judge::{Decision, judge};

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 approve, 1 deny, 3 wait or ignore, 2 error.\n\n\
    Example:\n  kubectl get csr csr-x7k2p -o yaml >csr.yaml\n  \
    kubectl get nodes,namespaces,servicecidrs,services,endpointslices \\\n    \
    -n default -o yaml >cluster.yaml\n  \
    kubectl get configmap cluster-info -n kube-public -o yaml >cluster-info.yaml\n  \
    csr-warden check --as-new csr.yaml cluster.yaml cluster-info.yaml"
)]
pub(super) struct CheckArgs {
    /// Files with CertificateSigningRequests, Nodes, the Service default/kubernetes, its
    /// EndpointSlices, ServiceCIDRs and the ConfigMap kube-public/cluster-info, as kubectl prints
    /// them; API servers' certificates in PEM; Machines that the policy names; an Inventory; the
    /// files of `explain --save`; or a bare PEM request. `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Policy file, or the name of a shipped policy
    #[arg(long, env = "CSR_WARDEN_POLICY", value_name = "FILE")]
    policy: Option<String>,
    /// Inventory file, which lists the names and addresses of each node
    #[arg(long, env = "CSR_WARDEN_INVENTORY", value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Requestor of a bare PEM request: a Node's name or a full user name
    #[arg(long, value_name = "NAME")]
    requestor: Option<String>,
    /// Groups of the requestor of a bare PEM request [default: those of a node]
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Requested usages of a bare PEM request [default: those of a kubelet]
    #[arg(long = "usage", value_name = "USAGE")]
    usages: Vec<String>,
    /// Judge each request as if it were new and undecided
    #[arg(long)]
    as_new: bool,
    /// Judge as of this time [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    now: Option<Timestamp>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT")]
    output: TextFormat,
}

/// Runs `check`: judges every request in the files.
pub(super) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let (policy, _) = policy::load(args.policy.as_deref())?;
    let now = args.now.unwrap_or_else(|| Clock::of_machine().wall());
    let inventory = args.inventory.clone().map(judging_args::inventory);
    let terms = Terms {
        requestor: args
            .requestor
            .as_deref()
            .map(|name| requestor(name, &args.groups)),
        usages: or_default(&args.usages, &["digital signature", "server auth"]),
        now,
        as_new: args.as_new,
        inventory: inventory.transpose()?.map(|file| file.inventory),
    };
    let Offline {
        requests,
        evidence,
        not_given,
    } = offline::read(&args.files, terms, &policy.spec)?;
    if requests.is_empty() {
        bail!("there is no CertificateSigningRequest in the files");
    }
    let mut decisions = Vec::new();
    let mut shown = Vec::new();
    for request in &requests {
        let judgment = judge(request, &policy, &evidence, now);
        decisions.push(judgment.verdict.decision());
        shown.push(render::Shown::new(
            &request.object,
            &judgment,
            &policy,
            &not_given,
        ));
    }
    let text = match args.output {
        TextFormat::Text => render::text(&shown, &not_given),
        TextFormat::Json => render::json(&shown)?,
        TextFormat::Yaml => render::yaml(&shown)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write the verdict")?;
    Ok(exit_code(&decisions))
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "expected a time such as `2026-07-24T12:00:00Z` (RFC 3339)".to_owned())
}

fn requestor(name: &str, groups: &[String]) -> Requestor {
    let username = if name.contains(':') {
        name.to_owned()
    } else {
        format!("{NODE_USER_PREFIX}{name}")
    };
    Requestor {
        username: username.into(),
        groups: or_default(groups, &["system:nodes", "system:authenticated"]).into(),
        ..Requestor::default()
    }
}

fn or_default(given: &[String], default: &[&str]) -> Vec<String> {
    if given.is_empty() {
        default.iter().map(|&text| text.to_owned()).collect()
    } else {
        given.to_vec()
    }
}

/// Exit code for the worst of several decisions: any denial, else any that is not an approval.
pub(super) fn exit_code(decisions: &[Decision]) -> ExitCode {
    let any = |decision| decisions.contains(&decision);
    if any(Decision::Deny) {
        ExitCode::from(1)
    } else if any(Decision::Wait) || any(Decision::Ignore) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}
