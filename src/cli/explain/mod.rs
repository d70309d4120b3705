//! `csr-warden explain`: the reasons for a request's verdict, and their remedies.

mod daemon_only;
mod save;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Resource as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::check::exit_code;
use super::cluster_args::block_on;
use super::format::TextFormat;
use super::live::{Decided, History, Issued, Known, LiveArgs, Look, Lookout, Unread};
use super::render::{Shown, print, wrap};
use super::request_name::request_name;
use super::table::age;
use crate::cluster::connection::WRITE_DEADLINE;
use crate::cluster::error::describe;
use crate::cluster::raw_request;
use crate::cluster::shallow_value::ShallowValue;
use daemon_only::{DaemonOnly, daemon_only};
use judge::csr::{Request, Settled};
use judge::{Decision, Judgment};

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 approve, 1 deny, 3 wait or ignore, 2 error.\n\n\
    A decided or expired request is ignored; its verdict as a new request is \
    printed too. --save writes all evidence of the verdict, for `csr-warden check`.\n\n\
    Examples:\n  csr-warden explain csr-x7k2p\n  \
    csr-warden explain csr-x7k2p --save csr-x7k2p"
)]
pub(super) struct ExplainArgs {
    /// Name of the CertificateSigningRequest
    #[arg(value_parser = request_name)]
    name: String,
    #[command(flatten)]
    live: LiveArgs,
    /// Judge the request as if it were new and undecided
    #[arg(long)]
    as_new: bool,
    /// Save the request and all evidence to this folder, to repeat the verdict elsewhere
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT")]
    output: TextFormat,
}

/// A request, its verdict and what led to it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    /// Time at which the cluster was read.
    #[schemars(with = "String")]
    time: Timestamp,
    #[serde(flatten)]
    judged: Shown,
    /// Time at which the request was created.
    #[schemars(with = "String")]
    created: Timestamp,
    /// `Pending`, `Approved`, `Denied`, `Failed` or `Issued`.
    state: &'static str,
    /// Decisions on it.
    decided: Vec<Decided>,
    /// The certificate that was issued for it.
    issued: Option<Issued>,
    /// Its verdict as a new and undecided request, unless `--as-new` asked for
    /// that verdict anyway.
    as_new: Option<Shown>,
    /// Sources that could not be read.
    unavailable_sources: Vec<Unread>,
    /// History that only a running daemon has, and that its verdict can depend on.
    daemon_only: Vec<DaemonOnly>,
    /// Counts of the evidence that it was checked against.
    evidence: Counts,
}

/// Counts of each kind of evidence.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Counts {
    nodes: usize,
    requests: usize,
    /// Names, addresses and networks that no node may have.
    protected: usize,
}

/// Runs `explain` for one request.
pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    block_on(explain_now(args))
}

async fn explain_now(args: &ExplainArgs) -> Result<ExitCode> {
    if let Some(dir) = &args.save {
        save::check_folder(dir)?;
    }
    let mut lookout = args.live.lookout(args.save.is_some()).await?;
    let mut look = lookout.look().await?;
    let (known, object) = find(&look, &lookout, &args.name).await?;
    let as_is = known.taken.read();
    let as_new = known.taken.read_as_new(look.now);
    look.ask(&lookout, &[as_is.clone(), as_new.clone()]).await;

    let policy = lookout.policy.clone();
    let shown = |look: &Look, request: &Request| {
        let judgment = look.judge(request, &policy);
        let shown = Shown::explained(&request.object, &judgment, &policy, look.now);
        (judgment, shown)
    };
    let (judgment, judged) = shown(&look, if args.as_new { &as_new } else { &as_is });
    let also_as_new = (!args.as_new && is_over(&judgment)).then(|| shown(&look, &as_new).1);
    let explanation = Explanation {
        time: look.now,
        judged,
        created: known.taken.object.created,
        state: state(known.taken.object.settled),
        decided: known.history.decided.clone(),
        issued: known.history.issued.clone(),
        as_new: also_as_new,
        unavailable_sources: look.unread(),
        daemon_only: daemon_only(&policy),
        evidence: Counts {
            nodes: look.evidence.nodes().len(),
            requests: look.requests.len(),
            protected: look.evidence.protected().iter().count(),
        },
    };
    let mut text = args.output.write(&explanation, || explanation.text())?;
    if let Some(dir) = &args.save {
        let command = save::save(dir, &look, &lookout, &known, &object, args.as_new)?;
        let told = save::told(dir, &command);
        match args.output {
            TextFormat::Text => {
                let _ = write!(text, "\n{told}");
            }
            // Not wrapped, so that the command can be copied.
            TextFormat::Json | TextFormat::Yaml => {
                let _ = std::io::stderr().write_all(told.as_bytes());
            }
        }
    }
    print(&text)?;
    Ok(exit_code(&[judgment.verdict.decision()]))
}

/// Request with this name, and its API object.
async fn find(look: &Look, lookout: &Lookout, name: &str) -> Result<(Known, Value)> {
    let read = async {
        let path = CertificateSigningRequest::url_path(&(), None);
        let request = raw_request::get(&path, name)?;
        raw_request::response(&lookout.connection.writes, request).await
    };
    let read = timeout(WRITE_DEADLINE, read)
        .await
        .with_context(|| format!("request {name}: the API server did not answer in time"))?;
    let found = match read {
        Ok(ShallowValue(found)) => Some(found),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => bail!("request {name} cannot be read: {}", describe(&error)),
    };
    let Some(mut object) = found else {
        let known = look.requests.len();
        bail!(
            "there is no CertificateSigningRequest `{name}` (found {known} of kubelets' serving \
             certificates; `kubectl get csr` lists all, and issued ones are deleted after an hour)"
        );
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), "certificates.k8s.io/v1".into());
        fields.insert("kind".into(), "CertificateSigningRequest".into());
    }
    Ok((Known::of(object.clone())?, object))
}

/// Returns true if the request is settled, stale or terminating, so that its own verdict is
/// `Ignore`.
fn is_over(judgment: &Judgment) -> bool {
    use judge::finding::Code;
    let over = [
        Code::RequestSettled,
        Code::RequestStale,
        Code::RequestTerminating,
    ];
    judgment.verdict.decision() == Decision::Ignore
        && judgment.codes().iter().any(|code| over.contains(code))
}

/// State of a request, in one word.
pub(super) fn state(settled: Option<Settled>) -> &'static str {
    match settled {
        None => "Pending",
        Some(Settled::Approved) => "Approved",
        Some(Settled::Denied) => "Denied",
        Some(Settled::Failed) => "Failed",
        Some(Settled::Issued) => "Issued",
    }
}

impl Explanation {
    fn text(&self) -> String {
        // Pending although the verdict is `Approve`: the daemon's history is the likely reason.
        let is_stuck = self.state == "Pending" && self.judged.verdict == "Approve";
        let mut text = String::new();
        if is_stuck {
            let lead = "The request is pending although this verdict is Approve. If a daemon is \
                        running and leads (`csr-warden status`), it can know more:";
            text.push_str(&self.daemon_only_text(lead));
            text.push('\n');
        }
        text.push_str(&self.judged.text());
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  made {} ago", age(self.created, self.time));
        let history = History {
            decided: self.decided.clone(),
            issued: self.issued.clone(),
        };
        for line in told(&history, self.time) {
            let _ = writeln!(text, "{}", wrap(&line, "  "));
        }
        let Counts {
            nodes,
            requests,
            protected,
        } = self.evidence;
        let held = format!(
            "checked against {nodes} Nodes, {requests} requests, and {protected} protected names, \
             addresses and networks"
        );
        let _ = writeln!(text, "{}", wrap(&held, "  "));
        if !is_stuck && self.state == "Pending" {
            let _ = write!(
                text,
                "\n{}",
                self.daemon_only_text("Known only to a running daemon:")
            );
        }
        if let Some(as_new) = &self.as_new {
            let _ = write!(text, "\nAs a new request, today:\n\n{}", as_new.text());
        }
        text
    }
}

impl Explanation {
    /// Renders history that only a daemon has, one line for each kind, below the lead sentence.
    fn daemon_only_text(&self, lead: &str) -> String {
        let mut text = format!("{}\n", wrap(lead, ""));
        for kind in &self.daemon_only {
            let line = format!("{}: {}", kind.code, kind.detail);
            let _ = writeln!(text, "{}", wrap(&line, "  "));
        }
        text
    }
}

/// Renders a request's conditions and certificate, one line for each.
fn told(history: &History, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for decided in &history.decided {
        let mut line = decided.condition.clone();
        if let Some(at) = decided.at {
            let _ = write!(line, " {} ago", age(at, now));
        }
        if let Some(program) = &decided.program {
            let _ = write!(line, " by {program}");
        }
        if !decided.reason.is_empty() {
            let _ = write!(line, " ({})", decided.reason);
        }
        if !decided.message.is_empty() {
            let _ = write!(line, ": {}", decided.message);
        }
        lines.push(line);
    }
    if let Some(issued) = &history.issued {
        let (until, sans) = (issued.not_after, issued.sans.join(", "));
        lines.push(format!("certificate until {until} for {sans}"));
    }
    lines
}
