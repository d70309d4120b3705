//! `csr-warden status`: nodes and their requests; those that need attention come first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::cluster_args::block_on;
use super::comparison::{ReleaseName, compare};
use super::explain::state;
use super::format::TableFormat;
use super::live::{Decided, Issued, Known, LiveArgs, Look, Lookout, Unread};
use super::node_selection::{NodeSelection, Selected};
use super::output_end::{stdout_ended, stdout_has_ended};
use super::render::{ShownFinding, note, print};
use super::table::{age, span, table};
use judge::csr::names::NodeName;
use judge::csr::{NODE_USER_PREFIX, Request, Settled};
use judge::evidence::Source;
use judge::finding::escaped;

/// Maximum number of open requests shown for one requestor, the newest first.
const MOST_OF_ONE: usize = 4;
/// Remaining lifetime below which renewal of a certificate is overdue.
const SOON: SignedDuration = SignedDuration::from_hours(24);

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(
    after_help = "STATE is the verdict of a pending request (Approve, Deny, Wait, Ignore), else \
    what has become of it (Approved, Issued, Denied, Failed). Certificates are known \
    from requests, which the cluster keeps for an hour after they were issued.\n\n\
    Examples:
  csr-warden status
  csr-warden status worker-1 worker-2
  \
    csr-warden status -l node-role.kubernetes.io/control-plane
  csr-warden status --watch -o wide
  \
    csr-warden status --compare kube-system/csr-warden kube-system/canary-csr-warden"
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    selection: NodeSelection,
    #[command(flatten)]
    live: LiveArgs,
    /// Compare the verdicts of two Deployments of csr-warden by their logs, such as those of a canary
    /// [exit code: 0 none differs, 1 some differ, 3 an open request has a verdict of only one]
    #[arg(long, num_args = 2, value_names = ["NAMESPACE/DEPLOYMENT", "NAMESPACE/DEPLOYMENT"],
          conflicts_with = "watch")]
    compare: Vec<ReleaseName>,
    /// Refresh continuously: redraw on a terminal, else append the table when it has changed
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two reads of the cluster with --watch, 1 to 3600
    #[arg(long, default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TableFormat::Table, value_name = "FORMAT")]
    output: TableFormat,
    /// Leave out the headers of the table
    #[arg(long)]
    no_headers: bool,
}

/// All nodes and requests.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statuses {
    /// Time at which the cluster was read.
    #[schemars(with = "String")]
    time: Timestamp,
    /// The items that need attention come first.
    items: Vec<Status>,
    /// Sources that could not be read.
    unavailable_sources: Vec<Unread>,
    /// The name of the policy.
    policy: String,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    policy_digest: String,
}

/// One node with one of its requests, or without any.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// The node's name; none if the requestor is not a node.
    node: Option<String>,
    /// True if the Node exists; none if Nodes could not be read.
    node_exists: Option<bool>,
    /// The request's name.
    request: Option<String>,
    /// The requestor's user name.
    requestor: Option<String>,
    /// `Approve`, `Deny`, `Wait` or `Ignore` while it is pending; else `Approved`, `Denied`,
    /// `Failed` or `Issued`; `None` without a request.
    state: &'static str,
    /// Time at which the request was created.
    #[schemars(with = "Option<String>")]
    created: Option<Timestamp>,
    /// The condition that makes it `Denied` or `Failed`.
    decided: Option<Decided>,
    /// Findings of a pending request, each with its remedy.
    findings: Vec<ShownFinding>,
    /// Pending requests of the same requestor, this one among them.
    pending: usize,
    /// The newest certificate that is known.
    certificate: Option<Issued>,
}

/// Runs `status`, once or continuously.
pub(super) fn status(args: &StatusArgs) -> Result<ExitCode> {
    if !args.compare.is_empty() {
        return compare(args.live.cluster(), &args.compare, args.output);
    }
    block_on(show(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &StatusArgs) -> Result<()> {
    let mut lookout = args.live.lookout(false).await?;
    let redraw = args.watch && std::io::stdout().is_terminal();
    let mut before = String::new();
    let mut first = true;
    let mut ended = pin!(watching_ended(args.watch));
    loop {
        let looked = tokio::select! {
            looked = look(&mut lookout, &args.selection) => looked,
            () = &mut ended => return Ok(()),
        };
        if args.watch && stdout_has_ended() {
            return Ok(());
        }
        let statuses = match looked {
            Ok(statuses) => statuses,
            // `--watch` continues through an outage, to show its end.
            Err(error) if args.watch && !first => {
                note(&[format!("csr-warden: {error:#}")]);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(args.interval)) => continue,
                    () = &mut ended => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        };
        first = false;
        let with_headers = !args.no_headers;
        let mut text = args
            .output
            .write(&statuses, |wide| statuses.table(wide, with_headers))?;
        let unread = statuses.unavailable_sources.iter();
        let notes: Vec<String> = unread
            .map(|unread| format!("{} cannot be read: {}", unread.source, unread.reason))
            .collect();
        if !args.watch {
            print(&text)?;
            note(&notes);
            return Ok(());
        }
        if args.output == TableFormat::Yaml {
            text.insert_str(0, "---\n");
        }
        // Ages change with every read, so they do not count as a change.
        let now = statuses.fingerprint();
        if redraw {
            let heading = format!(
                "Every {} s: csr-warden status, {:.0}, ^C ends it\n\n",
                args.interval, statuses.time
            );
            draw(&format!("\x1b[H\x1b[2J{heading}{text}"))?;
            note(&notes);
        } else if now != before {
            draw(&text)?;
            note(&notes);
            before = now;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(args.interval)) => {}
            () = &mut ended => return Ok(()),
        }
    }
}

/// Completes when `--watch` ends: on Ctrl-C, or when its output is closed.
async fn watching_ended(watch: bool) {
    if !watch {
        return std::future::pending().await;
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = stdout_ended() => {}
    }
}

/// Prints one state of `--watch`. Output that ends meanwhile is no error.
fn draw(text: &str) -> Result<()> {
    match print(text) {
        Err(_) if stdout_has_ended() => Ok(()),
        printed => printed,
    }
}

async fn look(lookout: &mut Lookout, selection: &NodeSelection) -> Result<Statuses> {
    let mut look = lookout.look().await?;
    let selected = selection.select(&lookout.connection).await?;
    let shown = chosen(&look, &selected);
    let open: Vec<Request> = shown
        .iter()
        .filter(|known| known.taken.object.is_open())
        .map(|known| known.taken.read())
        .collect();
    look.ask(lookout, &open).await;
    let mut items = items(&look, lookout, &selected);
    selection.check(items.iter().filter_map(|item| item.node.as_deref()))?;
    items.sort_by_key(|item| item.urgency(look.now));
    Ok(Statuses {
        time: look.now,
        items,
        unavailable_sources: look.unread(),
        policy: lookout.policy.metadata.name.clone(),
        policy_digest: lookout.policy.digest.clone(),
    })
}

/// Requests to show: each selected requestor's newest open ones, or else its newest.
fn chosen<'a>(look: &'a Look, selected: &Selected) -> Vec<&'a Known> {
    let mut chosen = Vec::new();
    for (requestor, of_one) in by_requestor(look) {
        if !selected.has(requestor.strip_prefix(NODE_USER_PREFIX)) {
            continue;
        }
        let open = of_one.iter().filter(|known| known.taken.object.is_open());
        let open: Vec<&Known> = open.copied().take(MOST_OF_ONE).collect();
        if open.is_empty() {
            chosen.extend(of_one.first());
        } else {
            chosen.extend(open);
        }
    }
    chosen
}

/// Requests by requestor, the newest first.
fn by_requestor(look: &Look) -> BTreeMap<&str, Vec<&Known>> {
    let mut by_requestor: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
    for known in look.requests.iter().rev() {
        let requestor = &*known.taken.object.requestor.username;
        by_requestor.entry(requestor).or_default().push(known);
    }
    by_requestor
}

fn items(look: &Look, lookout: &Lookout, selected: &Selected) -> Vec<Status> {
    let by_requestor = by_requestor(look);
    let mut with_request: BTreeSet<NodeName> = BTreeSet::new();
    let mut items = Vec::new();
    let nodes = look.evidence.sources().state(Source::Nodes);
    let nodes_read = nodes.synced.is_some();
    for known in chosen(look, selected) {
        let object = &known.taken.object;
        let node = object.requestor.node();
        let username = &*object.requestor.username;
        let of_one = by_requestor.get(username).map_or(&[][..], Vec::as_slice);
        let judgment = object
            .is_open()
            .then(|| look.judge(&known.taken.read(), &lookout.policy));
        let findings = judgment.as_ref();
        let state = match &judgment {
            Some(judgment) => judgment.verdict.decision().as_str(),
            None if object.terminating => "Ignore",
            None => state(object.settled),
        };
        let node_exists = node
            .as_ref()
            .is_some_and(|node| look.evidence.nodes().get(node.as_str()).is_some());
        items.push(Status {
            node_exists: nodes_read.then_some(node_exists),
            node: node.as_ref().map(ToString::to_string),
            request: Some(object.name.clone()),
            requestor: Some(escaped(username.as_bytes())),
            state,
            decided: matches!(state, "Denied" | "Failed")
                .then(|| known.history.condition(state).cloned())
                .flatten(),
            created: Some(object.created),
            findings: findings
                .map(|judgment| ShownFinding::explained(judgment, look.now))
                .unwrap_or_default(),
            pending: of_one.iter().filter(|k| k.taken.object.is_open()).count(),
            certificate: newest_certificate(of_one),
        });
        with_request.extend(node);
    }
    let mut others: Vec<&NodeName> = look
        .evidence
        .nodes()
        .iter()
        .map(|node| &node.name)
        .collect();
    others.retain(|name| !with_request.contains(*name) && selected.has(Some(name.as_str())));
    others.sort_unstable();
    items.extend(others.into_iter().map(|name| Status {
        node: Some(name.to_string()),
        node_exists: Some(true),
        request: None,
        requestor: None,
        state: "None",
        decided: None,
        created: None,
        findings: Vec::new(),
        pending: 0,
        certificate: None,
    }));
    items
}

fn newest_certificate(newest_first: &[&Known]) -> Option<Issued> {
    let issued = |known: &&Known| known.taken.object.settled == Some(Settled::Issued);
    let newest = newest_first.iter().find(|known| issued(known))?;
    newest.history.issued.clone()
}

impl Status {
    /// Sort key: items that need attention come first.
    fn urgency(&self, now: Timestamp) -> (u8, String, Option<Timestamp>) {
        let ends_soon = self
            .certificate
            .as_ref()
            .is_some_and(|issued| issued.not_after.duration_since(now) < SOON);
        let rank = match self.state {
            "Deny" => 0,
            "Failed" => 1,
            "Denied" => 2,
            "Wait" => 3,
            "Approve" => 4,
            "Approved" => 5,
            _ if ends_soon => 6,
            "Ignore" => 7,
            "Issued" => 8,
            _ => 9,
        };
        let name = self.node.as_ref().or(self.requestor.as_ref());
        (rank, name.cloned().unwrap_or_default(), self.created)
    }

    fn row(&self, now: Timestamp, wide: bool) -> Vec<String> {
        let none = || "<none>".to_owned();
        let name = match (&self.node, &self.requestor) {
            (Some(node), _) if self.node_exists == Some(false) => format!("{node} (no Node)"),
            (Some(node), _) => node.clone(),
            (None, Some(requestor)) => requestor.clone(),
            (None, None) => none(),
        };
        let request = self.request.clone().unwrap_or_else(none);
        let state = if self.state == "None" {
            none()
        } else {
            self.state.to_owned()
        };
        let created = self.created.map_or_else(none, |created| age(created, now));
        let ends = self.certificate.as_ref().map_or_else(
            || "<unknown>".to_owned(),
            |issued| {
                let left = issued.not_after.duration_since(now).as_secs();
                if left <= 0 {
                    "ended".to_owned()
                } else {
                    span(left)
                }
            },
        );
        let mut row = vec![name, request, state, created, ends];
        if wide {
            row.push(self.pending.to_string());
            row.push(self.certificate.as_ref().map_or_else(none, |issued| {
                let bare = |san: &String| san.split_once(':').map_or("", |(_, san)| san).to_owned();
                let sans: Vec<String> = issued.sans.iter().map(bare).collect();
                sans.join(",")
            }));
        }
        row.push(self.reason(wide));
        row
    }

    /// Reason for the state: the text of the deciding condition, or else the decisive finding.
    fn reason(&self, wide: bool) -> String {
        if let Some(decided) = &self.decided {
            return match (wide, decided.message.as_str()) {
                (false, _) | (true, "") => decided.reason.clone(),
                (true, message) => format!("{}: {message}", decided.reason),
            };
        }
        match ShownFinding::decisive(&self.findings, self.state) {
            None => String::new(),
            Some((first, _)) if wide => {
                let change = first.remedy.as_deref().unwrap_or_default();
                format!("{}: {}. {change}", first.code, first.detail)
            }
            Some((first, more)) => first.counted(more),
        }
    }
}

impl Statuses {
    fn table(&self, wide: bool, with_headers: bool) -> String {
        if self.items.is_empty() && with_headers {
            return "No nodes and no requests found\n".to_owned();
        }
        let mut header = vec!["NODE", "REQUEST", "STATE", "AGE", "EXPIRES"];
        if wide {
            header.extend(["PENDING", "CERTIFICATE"]);
        }
        header.push("REASON");
        let rows: Vec<Vec<String>> = self
            .items
            .iter()
            .map(|item| item.row(self.time, wide))
            .collect();
        let table = table(&header, &rows, wide);
        match table.split_once('\n') {
            Some((_, rows)) if !with_headers => rows.to_owned(),
            Some(_) | None => table,
        }
    }

    /// Text of the fields whose change is printed by `--watch`: nodes, requests, states, finding
    /// codes and unread sources.
    fn fingerprint(&self) -> String {
        let items = self.items.iter().map(|item| {
            let codes: Vec<&str> = item.findings.iter().map(|finding| finding.code).collect();
            format!(
                "{:?} {:?} {} {codes:?}",
                item.node, item.request, item.state
            )
        });
        let unread = self
            .unavailable_sources
            .iter()
            .map(|unread| unread.reason.clone());
        items.chain(unread).collect::<Vec<_>>().join("\n")
    }
}
