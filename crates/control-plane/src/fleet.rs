//! Many nodes that ask with the kubelet's own code: the program in `go/fleet`, and what it says.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::POLL_INTERVAL;
use super::assets::Assets;
use super::cluster::Cluster;
use super::process::{Launch, Process};

/// What kind of fleet. The default is one node.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: usize,
    /// The number of the first node; names and addresses come from it, see `go/fleet/main.go`.
    pub first_index: usize,
    /// The first part of each node's name: node 1 is `PREFIX-1`.
    pub prefix: String,
    /// Whether each node has an IPv6 InternalIP too.
    pub dual_stack: bool,
    /// The domain of the nodes' InternalDNS names, if they have any.
    pub dns_suffix: Option<String>,
    /// Over how long the starts are spread.
    pub start_spread: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            first_index: 1,
            prefix: "node".into(),
            dual_stack: false,
            dns_suffix: None,
            start_spread: Duration::ZERO,
        }
    }
}

impl Options {
    /// So many nodes, `node-1` and on.
    pub fn nodes(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }
}

/// A certificate that a node got.
#[derive(Clone, Debug, Deserialize)]
pub struct Issued {
    /// The node's name.
    pub node: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// DNS names, then IPs.
    pub sans: Vec<String>,
    /// When it ends, RFC 3339.
    #[serde(rename = "notAfter")]
    pub not_after: String,
    /// Milliseconds since the node's certificate manager started.
    pub millis: f64,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    NodeCreated {},
    Issued(Issued),
    AllIssued {},
    Error {
        node: Option<String>,
        message: String,
    },
}

/// A running fleet. Dropping it ends its process.
pub struct Fleet {
    process: Process,
    names: Vec<String>,
    /// How many certificates each node must have had before nobody waits.
    due: BTreeMap<String, usize>,
}

impl Fleet {
    /// Starts the fleet; nodes appear and ask at once.
    pub fn start(assets: &Assets, cluster: &Cluster, options: &Options) -> Result<Self> {
        let name = format!("fleet-{}-{}", options.prefix, options.first_index);
        let ca = cluster.authority().pair();
        let mut launch = Launch::new(&name, &assets.fleet, cluster.dir())
            .with_stdin()
            .args([
                format!("--server={}", cluster.server()),
                format!("--ca-cert={}", ca.cert.display()),
                format!("--ca-key={}", ca.key.display()),
                format!("--dir={}", cluster.dir().join(&name).display()),
                format!("--nodes={}", options.nodes),
                format!("--first-index={}", options.first_index),
                format!("--prefix={}", options.prefix),
                format!("--dual-stack={}", options.dual_stack),
                format!("--start-spread={}ms", options.start_spread.as_millis()),
            ]);
        if let Some(suffix) = &options.dns_suffix {
            launch = launch.args([format!("--dns-suffix={suffix}")]);
        }
        let indices = options.first_index..options.first_index + options.nodes;
        let names: Vec<String> = indices.map(|i| format!("{}-{i}", options.prefix)).collect();
        let due = names.iter().map(|name| (name.clone(), 1)).collect();
        Ok(Self {
            process: Process::spawn(launch)?,
            names,
            due,
        })
    }

    /// The nodes' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The process, to pause or to measure it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Every certificate so far, in the order of issue.
    pub fn issued(&self) -> Vec<Issued> {
        let lines = self.process.stdout.lines();
        lines
            .iter()
            .filter_map(|line| parse(line))
            .filter_map(issue)
            .collect()
    }

    /// Each node's latest certificate.
    pub fn latest(&self) -> BTreeMap<String, Issued> {
        self.issued()
            .into_iter()
            .map(|issued| (issued.node.clone(), issued))
            .collect()
    }

    /// What went wrong so far: a Node that could not be made, a wrong command.
    pub fn errors(&self) -> Vec<String> {
        let lines = self.process.stdout.lines();
        lines
            .iter()
            .filter_map(|line| match parse(line)? {
                Event::Error { node, message } => {
                    Some(format!("{}: {message}", node.unwrap_or_default()))
                }
                Event::NodeCreated {} | Event::Issued(_) | Event::AllIssued {} => None,
            })
            .collect()
    }

    /// Lets a node forget its certificate and ask anew, as a kubelet that lost its disk.
    pub fn rotate(&mut self, node: &str) -> Result<()> {
        self.expect(&[node.to_owned()])?;
        self.command(&format!("rotate {node}"))
    }

    /// The same for all nodes.
    pub fn rotate_all(&mut self) -> Result<()> {
        let names = self.names.clone();
        self.expect(&names)?;
        self.command("rotate all")
    }

    /// Gives a node other InternalIPs: it reports them and asks for a certificate with them.
    pub fn set_addresses(&mut self, node: &str, ips: &[&str]) -> Result<()> {
        self.expect(&[node.to_owned()])?;
        self.command(&format!("address {node} {}", ips.join(",")))
    }

    fn expect(&mut self, nodes: &[String]) -> Result<()> {
        let had = self.counts();
        for node in nodes {
            let due = self
                .due
                .get_mut(node)
                .with_context(|| format!("no node `{node}`"))?;
            *due = had.get(node).copied().unwrap_or_default() + 1;
        }
        Ok(())
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for issued in self.issued() {
            *counts.entry(issued.node).or_default() += 1;
        }
        counts
    }

    fn command(&mut self, line: &str) -> Result<()> {
        let stdin = self.process.stdin().context("the fleet is not running")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// The nodes that wait for their first certificate, or for one that was asked for since.
    pub fn waiting(&self) -> Vec<String> {
        let had = self.counts();
        let waits = |(node, due): &(&String, &usize)| had.get(*node).is_none_or(|n| n < *due);
        self.due
            .iter()
            .filter(waits)
            .map(|(node, _)| node.clone())
            .collect()
    }

    /// Waits until no node waits.
    pub async fn wait_all_issued(&mut self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut missing = self.due.len();
        let due = &self.due;
        // Counted while the lines come: 2,000 nodes write thousands of them.
        let all = self.process.stdout.find(deadline, |line| {
            if let Some(issued) = parse(line).and_then(issue) {
                let count = counts.entry(issued.node.clone()).or_default();
                *count += 1;
                if due.get(&issued.node) == Some(count) {
                    missing -= 1;
                }
            }
            (missing == 0).then_some(())
        });
        if all.await.is_some() {
            return Ok(());
        }
        self.process.must_run()?;
        let waiting = self.waiting();
        let some = waiting.get(..waiting.len().min(5)).unwrap_or_default();
        bail!(
            "{} of {} nodes still wait after {:?}, as {some:?}; errors: {:?}\n{}",
            waiting.len(),
            self.names.len(),
            begun.elapsed(),
            self.errors(),
            tail_of_errors(&self.process),
        )
    }

    /// Waits until this node has a certificate that it had not when [`Fleet::rotate`] or
    /// [`Fleet::readdress`] was called last, or its first one.
    pub async fn wait_issued(&mut self, node: &str, deadline: Duration) -> Result<Issued> {
        ensure!(
            self.due.contains_key(node),
            "no node `{node}` in this fleet"
        );
        let begun = Instant::now();
        while self.waiting().iter().any(|name| name == node) {
            self.process.must_run()?;
            if begun.elapsed() > deadline {
                let log = tail_of_errors(&self.process);
                bail!("`{node}` still waits after {deadline:?}\n{log}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.latest().remove(node).context("issued and gone")
    }
}

fn parse(line: &str) -> Option<Event> {
    serde_json::from_str(line).ok()
}

fn issue(event: Event) -> Option<Issued> {
    match event {
        Event::Issued(issued) => Some(issued),
        Event::NodeCreated {} | Event::AllIssued {} | Event::Error { .. } => None,
    }
}

fn tail_of_errors(process: &Process) -> String {
    let lines = process.stderr.lines();
    lines
        .get(lines.len().saturating_sub(10)..)
        .unwrap_or_default()
        .join("\n")
}
