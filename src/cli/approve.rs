//! `csr-warden approve`: one pass over pending requests. Approvals follow the policy; denials are
//! written only with `--deny`.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::check::exit_code;
use super::cluster_args::block_on;
use super::format::TextFormat;
use super::live::{Known, LiveArgs, Look, Lookout, Unread};
use super::render::{ShownFinding, note, print, wrap};
use super::request_name::request_name;
use super::table::{age, table};
use crate::cluster::approval::{self, Outcome};
use crate::telemetry::printable::printable;
use judge::csr::Request;
use judge::evidence::Fact;
use judge::finding::escaped;
use judge::{Decision, Judgment, Verdict};

/// Maximum number of write attempts for one request. More conflicts suggest a loop with another
/// writer.
const TRIES: usize = 3;

/// Maximum number of requests that are written before the cluster is read again.
const BATCH: usize = 50;
/// Maximum age of what requests are judged by when one is written.
const BATCH_TIME: Duration = Duration::from_secs(5);

/// Flags of `approve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all requests are approved, 1 a request is (to be) denied, 3 a request waits \
    or is ignored, 2 error. `enforcement` of a policy applies to the daemon only: here the \
    flags decide what is written. Nodes and requests are re-read and judged again after each 50 \
    requests or 5 seconds.\n\n\
    Examples:\n  csr-warden approve --dry-run\n  csr-warden approve --yes csr-x7k2p csr-2xq9v"
)]
pub(super) struct ApproveArgs {
    /// Names of the requests to judge [default: all pending requests]
    #[arg(value_name = "NAME", value_parser = request_name)]
    names: Vec<String>,
    #[command(flatten)]
    live: LiveArgs,
    /// Do not ask before writing
    #[arg(short, long)]
    yes: bool,
    /// Print what would be done, and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Write denials too, which cannot be undone
    #[arg(long)]
    deny: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT")]
    output: TextFormat,
}

/// Planned and written conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Approved {
    /// Time at which the cluster was read.
    #[schemars(with = "String")]
    time: Timestamp,
    /// True for a dry run, which writes nothing.
    dry_run: bool,
    /// The requests that are pending or were named, the oldest first.
    items: Vec<Item>,
    /// Sources that could not be read.
    unavailable_sources: Vec<Unread>,
    /// The name of the policy.
    policy: String,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    policy_digest: String,
}

/// One request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    /// Its name.
    request: String,
    /// Its UID.
    uid: Arc<str>,
    /// The requestor's user name.
    requestor: String,
    /// Time at which it was created.
    #[schemars(with = "String")]
    created: Timestamp,
    /// `Approve`, `Deny`, `Wait` or `Ignore`.
    verdict: &'static str,
    /// Planned condition: `Approved`, `Denied` or none.
    plan: Option<&'static str>,
    /// Written condition: the same, or none.
    written: Option<&'static str>,
    /// Reason why the planned condition could not be written.
    failure: Option<String>,
    /// Reason why it need not be written: another client decided first.
    superseded: Option<String>,
    /// The requested names and addresses.
    sans: Vec<String>,
    /// Findings, each with its remedy.
    findings: Vec<ShownFinding>,
}

/// Runs `approve`: one pass.
pub(super) fn approve(args: &ApproveArgs) -> Result<ExitCode> {
    block_on(pass(args))
}

async fn pass(args: &ApproveArgs) -> Result<ExitCode> {
    let mut lookout = args.live.lookout(false).await?;
    let for_person = args.output == TextFormat::Text;
    let (mut look, mut judged) = judge_pending(&mut lookout, &args.names).await?;
    check_names(&look, &args.names)?;
    let stands = lookout.policy.spec.proof.addresses_stable_for;
    if !stands.is_zero() && !judged.is_empty() {
        note(&[format!(
            "policy {} requires addresses that are unchanged for {stands:#}: judging again after that",
            lookout.policy.metadata.name
        )]);
        let until = look.now.checked_add(stands).unwrap_or(look.now);
        let mut left = || Duration::try_from(until.duration_since(lookout.now())).ok();
        while let Some(left) = left().filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
        (look, judged) = judge_pending(&mut lookout, &args.names).await?;
    }
    let mut approved = Approved {
        time: look.now,
        dry_run: args.dry_run,
        items: judged.iter().map(|one| item(one, &look, args)).collect(),
        unavailable_sources: look.unread(),
        policy: lookout.policy.metadata.name.clone(),
        policy_digest: lookout.policy.digest.clone(),
    };
    note(&look.told());
    if for_person {
        print(&approved.plan())?;
    }
    let planned: Vec<usize> = (0..approved.items.len())
        .filter(|at| {
            approved
                .items
                .get(*at)
                .is_some_and(|item| item.plan.is_some())
        })
        .collect();
    if !planned.is_empty() && !args.dry_run {
        if !args.yes && !ask(&approved.question())? {
            bail!("nothing was written");
        }
        // Without a question, the first batch is judged by what was just read.
        let mut is_fresh = args.yes;
        let mut rest = planned.as_slice();
        while !rest.is_empty() {
            if !is_fresh {
                let named = |at: &usize| approved.items.get(*at).map(|item| item.request.clone());
                let names: Vec<String> = rest.iter().filter_map(named).collect();
                (look, judged) = judge_pending(&mut lookout, &names).await?;
            }
            is_fresh = false;
            let begun = Instant::now();
            let mut written = 0;
            while let Some((at, others)) = rest.split_first() {
                if written >= BATCH || begun.elapsed() >= BATCH_TIME {
                    break;
                }
                rest = others;
                written += 1;
                let Some(item) = approved.items.get_mut(*at) else {
                    continue;
                };
                let still = judged.iter().find(|one| one.request.object.uid == item.uid);
                match still {
                    Some(one) if one.request.object.is_open() => {
                        write(item, one, &look, &lookout).await;
                    }
                    Some(_) | None => {
                        item.superseded = Some("it was decided or deleted meanwhile".into())
                    }
                }
                if for_person {
                    print(&item.told())?;
                }
            }
        }
    }
    // Each result was already printed for people.
    print(&args.output.write(&approved, String::new)?)?;
    let failed = approved.items.iter().filter_map(|item| {
        let why = item.failure.as_ref()?;
        Some(format!("{}: {why}", item.request))
    });
    let failed: Vec<String> = failed.collect();
    if let Some(first) = failed.first() {
        let of = failed.len();
        let more = if of > 1 {
            format!(" ({of} in all)")
        } else {
            String::new()
        };
        bail!("cannot write a condition: {first}{more}");
    }
    let decisions: Vec<Decision> = approved
        .items
        .iter()
        .filter_map(|item| {
            Decision::ALL
                .into_iter()
                .find(|d| d.as_str() == item.verdict)
        })
        .collect();
    Ok(exit_code(&decisions))
}

/// Request and its judgment.
struct Judged {
    request: Request,
    judgment: Judgment,
}

/// Judges pending or named requests, the oldest first. An approved key is in use from then on: of
/// two nodes that request the same key, only the first is approved.
async fn judge_pending(lookout: &mut Lookout, names: &[String]) -> Result<(Look, Vec<Judged>)> {
    let mut look = lookout.look().await?;
    let is_named = |known: &&Known| names.contains(&known.taken.object.name);
    let requests: Vec<Request> = look
        .requests
        .iter()
        .filter(|known| match names {
            [] => known.taken.object.is_open(),
            _ => is_named(known),
        })
        .map(|known| known.taken.read())
        .collect();
    look.ask(lookout, &requests).await;
    let mut judged = Vec::new();
    for request in requests {
        let judgment = look.judge(&request, &lookout.policy);
        if judgment.verdict.decision() == Decision::Approve
            && let Some(content) = &request.content
            && let Some(node) = request.object.requestor.node()
        {
            look.evidence.apply(Fact::Key(content.key, node), look.now);
        }
        judged.push(Judged { request, judgment });
    }
    Ok((look, judged))
}

/// Returns an error if a named request does not exist, or if only decided requests are named. A
/// decided request among pending ones is not an error.
fn check_names(look: &Look, names: &[String]) -> Result<()> {
    let mut decided = None;
    let mut pending = false;
    for name in names {
        let known = look.requests.iter().find(|k| k.taken.object.name == *name);
        match known {
            None => bail!("there is no request `{name}` for a kubelet's serving certificate"),
            Some(known) if known.taken.object.is_open() => pending = true,
            Some(known) => {
                decided.get_or_insert((name, known.taken.object.settled));
            }
        }
    }
    if let (Some((name, settled)), false) = (decided, pending) {
        let state = super::explain::state(settled).to_lowercase();
        bail!("expected a pending request, found `{name}`, which is {state}");
    }
    Ok(())
}

fn item(one: &Judged, look: &Look, args: &ApproveArgs) -> Item {
    let object = &one.request.object;
    let content = one.request.content.as_ref();
    Item {
        request: object.name.clone(),
        uid: object.uid.clone(),
        requestor: escaped(object.requestor.username.as_bytes()),
        created: object.created,
        verdict: one.judgment.verdict.decision().as_str(),
        plan: match &one.judgment.verdict {
            Verdict::Approve(_) => Some("Approved"),
            Verdict::Deny(_) if args.deny => Some("Denied"),
            Verdict::Deny(_) | Verdict::Wait(_) | Verdict::Ignore => None,
        },
        written: None,
        failure: None,
        superseded: None,
        sans: content
            .map(|content| content.sans.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        findings: ShownFinding::explained(&one.judgment, look.now),
    }
}

/// Writes the planned condition if the verdict still requires it. After a conflict the request is
/// re-read and judged again.
async fn write(item: &mut Item, one: &Judged, look: &Look, lookout: &Lookout) {
    let client = &lookout.connection.writes;
    let mut preserved = one.request.object.preserved.clone();
    let mut verdict = one.judgment.verdict.clone();
    for _ in 0..TRIES {
        let (outcome, written) = match (&verdict, item.plan) {
            (Verdict::Approve(approval), Some("Approved")) => (
                approval::approve(client, approval, &preserved).await,
                "Approved",
            ),
            (Verdict::Deny(denial), Some("Denied")) => {
                (approval::deny(client, denial, &preserved).await, "Denied")
            }
            _ => {
                let now = verdict.decision();
                item.superseded = Some(format!("it has changed, and its verdict is now {now}"));
                return;
            }
        };
        let fresh = match outcome {
            Outcome::Written => {
                item.written = Some(written);
                return;
            }
            Outcome::Changed(Some(fresh)) => fresh,
            Outcome::Changed(None) => {
                item.superseded = Some("it was deleted".into());
                return;
            }
            Outcome::NotLeading => return,
            Outcome::Gone(why) => {
                item.superseded = Some(why);
                return;
            }
            Outcome::Forbidden(why) | Outcome::Failed { why, .. } => {
                item.failure = Some(why);
                return;
            }
        };
        let (object, encoded) = *fresh;
        if object.uid != item.uid {
            item.superseded = Some("it was deleted, and another request has its name".into());
            return;
        }
        let request = Request::read(object, &encoded);
        preserved = request.object.preserved.clone();
        verdict = look.judge(&request, &lookout.policy).verdict;
    }
    item.failure = Some("another client keeps changing it".into());
}

/// Asks for confirmation. Returns an error if standard input is not a terminal.
pub(super) fn ask(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("expected --yes or --dry-run, since standard input is not a terminal");
    }
    let mut stderr = std::io::stderr();
    stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Item {
    fn row(&self, now: Timestamp) -> Vec<String> {
        let action = match self.plan {
            Some("Approved") => "approve",
            Some(_) => "deny",
            None => "leave",
        };
        let why = if self.plan == Some("Approved") {
            self.sans.join(", ")
        } else {
            let decisive = self.findings.iter().find(|f| f.effect == self.verdict);
            decisive.map_or_else(String::new, |f| format!("{}: {}", f.code, f.detail))
        };
        let requestor = self.requestor.clone();
        let requestor = requestor.strip_prefix("system:node:").unwrap_or(&requestor);
        vec![
            action.to_owned(),
            self.request.clone(),
            requestor.to_owned(),
            age(self.created, now),
            why,
        ]
    }

    fn told(&self) -> String {
        let (name, requestor) = (printable(&self.request), printable(&self.requestor));
        match (self.written, &self.failure, &self.superseded) {
            (Some(written), ..) => format!("{written}  {name}  {requestor}\n"),
            (None, Some(_), _) => format!("Failed  {name}  {requestor}\n"),
            (None, None, Some(why)) => {
                let line = format!("Left  {name}  {requestor}: {why}");
                wrap(&line, "") + "\n"
            }
            (None, None, None) => String::new(),
        }
    }
}

impl Approved {
    fn plan(&self) -> String {
        if self.items.is_empty() {
            return "Nothing is pending.\n".to_owned();
        }
        let rows: Vec<Vec<String>> = self.items.iter().map(|item| item.row(self.time)).collect();
        let header = ["ACTION", "REQUEST", "NODE", "AGE", "NAMES OR REASON"];
        let mut text = table(&header, &rows, false);
        let (approve, deny) = self.counts();
        let left = self.items.len() - approve - deny;
        let mut sentence = format!("{approve} to approve, {deny} to deny, {left} to leave");
        let denied = self.items.iter().filter(|item| item.verdict == "Deny");
        let denied = denied.filter(|item| item.plan.is_none()).count();
        if denied > 0 {
            // Writing to a String does not fail.
            let _ = write!(sentence, " ({denied} would be denied with --deny)");
        }
        if self.dry_run {
            sentence.push_str("; nothing is written");
        }
        let _ = writeln!(text, "\n{}", wrap(&sentence, ""));
        text
    }

    fn counts(&self) -> (usize, usize) {
        let of = |plan| {
            self.items
                .iter()
                .filter(|item| item.plan == Some(plan))
                .count()
        };
        (of("Approved"), of("Denied"))
    }

    fn question(&self) -> String {
        let (approve, deny) = self.counts();
        match (approve, deny) {
            (_, 0) => format!("Approve {approve}? [y/N] "),
            (0, _) => format!("Deny {deny}? [y/N] "),
            _ => format!("Approve {approve} and deny {deny}? [y/N] "),
        }
    }
}
