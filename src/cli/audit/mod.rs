//! `csr-warden audit`: re-evaluates approved requests under the current policy, as if they were
//! created now.

mod dial;
pub(super) mod fleet;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::check::exit_code;
use super::cluster_args::block_on;
use super::contexts::ContextsArgs;
use super::format::TableFormat;
use super::live::{AddressAges, Decided, Issued, Known, LiveArgs, Unread};
use super::render::{ShownFinding, note, print, wrap};
use super::table::{age, table};
use fleet::Fleet;
use judge::csr::Request;
use judge::finding::escaped;
use judge::{Decision, Judgment};

/// Maximum number of nodes named in one sentence. The JSON and YAML output names all of them.
const MOST_NAMED: usize = 5;

/// Flags of `audit`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all would be approved, 1 one would be denied, 3 one would not be \
    approved, 2 error. With several contexts an error takes precedence. The cluster keeps requests for an hour after they were issued: \
    --dial also audits the certificates that are in use beyond that. It connects to \
    each Node's kubelet port, at the address that the Node claims, and sends only a \
    TLS handshake.\n\n\
    Examples:\n  csr-warden audit\n  csr-warden audit --dial -o wide\n  csr-warden audit --all-contexts"
)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    contexts: ContextsArgs,
    /// Audit the certificates that kubelets present now, too
    #[arg(long)]
    dial: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TableFormat::Table, value_name = "FORMAT")]
    output: TableFormat,
}

/// Everything that was audited.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Audited {
    /// Time at which the cluster was read.
    #[schemars(with = "String")]
    time: Timestamp,
    /// The items that would be denied come first.
    items: Vec<Item>,
    /// Sources that could not be read.
    unavailable_sources: Vec<Unread>,
    /// The name of the policy.
    policy: String,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    policy_digest: String,
}

/// One request, or one certificate.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    /// The node's name, or the requestor's user name.
    node: String,
    /// The request's name; none if it was found on a kubelet's port.
    request: Option<String>,
    /// Address at which a kubelet presents it.
    address: Option<String>,
    /// `Approve`, `Deny`, `Wait` or `Ignore`; none if it could not be judged.
    verdict: Option<&'static str>,
    /// Reason why it could not be judged.
    note: Option<String>,
    /// Findings, each with its remedy.
    findings: Vec<ShownFinding>,
    /// Its approval.
    approved: Option<Decided>,
    /// Time at which the request was created.
    #[schemars(with = "Option<String>")]
    created: Option<Timestamp>,
    /// The certificate.
    certificate: Option<Issued>,
}

/// Runs `audit`: judges every approved request again, and with `--dial` each kubelet's certificate.
pub(super) fn audit(args: &AuditArgs) -> Result<ExitCode> {
    let Some(contexts) = args.contexts.names(&args.live)? else {
        let (audited, decisions, notes) = block_on(audit_cluster(args, &args.live))?;
        print(
            &args
                .output
                .write(&audited, |wide| audited.text(wide, args.dial))?,
        )?;
        note(&notes);
        return Ok(exit_code(&decisions));
    };
    let examined = block_on(async {
        let examined = args.contexts.examine(contexts, async |name| {
            audit_cluster(args, &args.live.in_context(name)).await
        });
        Ok(examined.await)
    })?;
    let (fleet, decisions, notes) = Fleet::new(examined);
    print(
        &args
            .output
            .write(&fleet, |wide| fleet.text(wide, args.dial))?,
    )?;
    note(&notes);
    Ok(if fleet.has_errors() {
        ExitCode::from(2)
    } else {
        exit_code(&decisions)
    })
}

/// The result on one cluster, with all decisions and with notes for people.
type AuditedCluster = (Audited, Vec<Decision>, Vec<String>);

async fn audit_cluster(args: &AuditArgs, live: &LiveArgs) -> Result<AuditedCluster> {
    let mut lookout = live.lookout(false).await?;
    // No earlier observation exists, and `audit` does not write.
    lookout.addresses = AddressAges::Unlimited;
    let mut look = lookout.look().await?;
    let mut subjects: Vec<Subject> = look
        .requests
        .iter()
        .filter(|known| known.taken.object.is_approved())
        .map(|known| Subject::of_request(known, look.now))
        .collect();
    if args.dial {
        subjects.extend(dial::dial(&look, &lookout.authorities).await);
    }
    let requests: Vec<Request> = subjects.iter().filter_map(|s| s.request.clone()).collect();
    look.ask(&lookout, &requests).await;
    let mut items = Vec::new();
    let mut decisions = Vec::new();
    for subject in subjects {
        let judged = subject.request.as_ref();
        let judged = judged.map(|request| look.judge(request, &lookout.policy));
        decisions.extend(judged.as_ref().map(|judged| judged.verdict.decision()));
        items.push(subject.judged(judged, look.now));
    }
    items.sort_by(|one, other| one.order().cmp(&other.order()));
    let audited = Audited {
        time: look.now,
        items,
        unavailable_sources: look.unread(),
        policy: lookout.policy.metadata.name.clone(),
        policy_digest: lookout.policy.digest.clone(),
    };
    Ok((audited, decisions, look.told()))
}

/// Subject of one judgment: its output item, and the request to judge if there is one.
struct Subject {
    /// Output item without the verdict and its findings.
    item: Item,
    request: Option<Request>,
}

impl Subject {
    fn of_request(known: &Known, now: Timestamp) -> Subject {
        let object = &known.taken.object;
        let node = object.requestor.node_part();
        let node = node.unwrap_or(&object.requestor.username);
        Subject {
            item: Item {
                node: escaped(node.as_bytes()),
                request: Some(object.name.clone()),
                address: None,
                verdict: None,
                note: None,
                findings: Vec::new(),
                approved: known.history.condition("Approved").cloned(),
                created: Some(object.created),
                certificate: known.history.issued.clone(),
            },
            request: Some(known.taken.read_as_new(now)),
        }
    }

    fn judged(self, judgment: Option<Judgment>, now: Timestamp) -> Item {
        let findings = judgment.as_ref();
        Item {
            verdict: findings.map(|judged| judged.verdict.decision().as_str()),
            findings: findings
                .map(|judged| ShownFinding::explained(judged, now))
                .unwrap_or_default(),
            ..self.item
        }
    }
}

impl Item {
    /// Sort key by verdict: `Deny`, `Wait`, `Ignore`, items without a verdict, then `Approve`.
    fn order(&self) -> (usize, &str, Option<Timestamp>) {
        let order = [
            Decision::Deny,
            Decision::Wait,
            Decision::Ignore,
            Decision::Approve,
        ];
        let place = order
            .iter()
            .position(|decision| Some(decision.as_str()) == self.verdict);
        // Items without a verdict come before approved ones.
        let place = place.map_or(5, |place| place * 2);
        (place, &self.node, self.created)
    }

    fn row(&self, now: Timestamp, wide: bool) -> Vec<String> {
        let none = || "<none>".to_owned();
        let what = self.request.clone().or_else(|| self.address.clone());
        let approved = self.approved.as_ref();
        let by = approved.map_or_else(none, |one| match (&one.program, wide) {
            (Some(program), true) => format!("{program} ({})", one.reason),
            _ => one.reason.clone(),
        });
        let verdict = self.verdict.unwrap_or_default();
        let why = match (ShownFinding::decisive(&self.findings, verdict), &self.note) {
            (Some((first, _)), _) if wide => format!("{}: {}", first.code, first.detail),
            (Some((first, more)), _) => first.counted(more),
            (None, Some(note)) => note.clone(),
            (None, None) => String::new(),
        };
        let mut row = vec![
            self.verdict.map_or_else(none, str::to_owned),
            self.node.clone(),
            what.unwrap_or_default(),
            by,
            self.created.map_or_else(none, |created| age(created, now)),
        ];
        if wide {
            row.push(
                self.certificate
                    .as_ref()
                    .map_or_else(none, |issued| format!("{:.0}", issued.not_after)),
            );
        }
        row.push(why);
        row
    }
}

impl Audited {
    fn text(&self, wide: bool, dialed: bool) -> String {
        let mut text = String::new();
        // The reason for a missing verdict is a sentence, too long for a narrow table.
        let is_row = |item: &&Item| wide || item.note.is_none();
        if self.items.iter().any(|item| is_row(&item)) {
            let mut header = vec!["VERDICT", "NODE", "REQUEST", "APPROVED BY", "AGE"];
            if dialed {
                header = vec!["VERDICT", "NODE", "REQUEST OR PORT", "APPROVED BY", "AGE"];
            }
            if wide {
                header.push("UNTIL");
            }
            header.push("REASON");
            let rows = self.items.iter().filter(is_row);
            let rows: Vec<Vec<String>> = rows.map(|item| item.row(self.time, wide)).collect();
            text = table(&header, &rows, wide);
            text.push('\n');
        }
        if !wide {
            for (note, nodes) in self.noted() {
                let _ = writeln!(text, "{}\n", wrap(&format!("{nodes}: {note}"), ""));
            }
        }
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", wrap(&self.summary(dialed), ""));
        text
    }

    /// Reasons for missing verdicts, each with the nodes concerned.
    fn noted(&self) -> BTreeMap<&str, String> {
        let mut noted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for item in &self.items {
            if let Some(note) = &item.note {
                noted.entry(note).or_default().push(&item.node);
            }
        }
        let shown = |nodes: Vec<&str>| {
            let first: Vec<&str> = nodes.iter().take(MOST_NAMED).copied().collect();
            match nodes.len().saturating_sub(MOST_NAMED) {
                0 => first.join(", "),
                more => format!("{} and {more} more", first.join(", ")),
            }
        };
        let noted = noted.into_iter();
        noted.map(|(note, nodes)| (note, shown(nodes))).collect()
    }

    fn summary(&self, dialed: bool) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &self.items {
            *counts.entry(item.verdict.unwrap_or_default()).or_default() += 1;
        }
        let of = |verdict: &str| counts.get(verdict).copied().unwrap_or_default();
        let (all, deny, wait) = (self.items.len(), of("Deny"), of("Wait"));
        let (good, other) = (of("Approve"), of("Ignore") + of(""));
        let what = if dialed { "Checked" } else { "Approved" };
        let mut text = format!(
            "{what}: {all}. By policy {} today {deny} would be denied, {wait} would wait and {good} \
             would be approved",
            self.policy
        );
        if other > 0 {
            let _ = write!(text, "; {other} not judged");
        }
        text.push('.');
        text
    }
}
