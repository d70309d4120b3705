//! A fleet of nodes that request certificates with the kubelet's own code (`go/fleet`).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::POLL_INTERVAL;
use super::assets::Assets;
use super::cluster::Cluster;
use super::process::{Launch, Process};

/// Options of a fleet. The default is one node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of nodes.
    pub nodes: usize,
    /// The index of the first node. Names and addresses are derived from it, see
    /// `go/fleet/main.go`.
    pub first_index: usize,
    /// The prefix of node names: node 1 is `PREFIX-1`.
    pub prefix: String,
    /// Adds an IPv6 InternalIP to each node.
    pub dual_stack: bool,
    /// The domain of the nodes' InternalDNS names. `None` for no such names.
    pub dns_suffix: Option<String>,
    /// The time over which the starts are spread.
    pub start_spread: Duration,
    /// The URL of the API server. `None` for the cluster's first one.
    pub server: Option<String>,
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
            server: None,
        }
    }
}

impl Options {
    /// Returns options for this number of nodes, from `node-1`.
    pub fn nodes(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }
}

/// An issued certificate.
#[derive(Clone, Debug, Deserialize)]
pub struct Issued {
    /// The node's name.
    pub node: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// DNS names, then IPs.
    pub sans: Vec<String>,
    /// The end of its validity, RFC 3339.
    #[serde(rename = "notAfter")]
    pub not_after: String,
    /// Milliseconds since the start of the node's certificate manager.
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

/// A running fleet. Its process is stopped when it is dropped.
pub struct Fleet {
    process: Process,
    names: Vec<String>,
    /// The number of certificates that each node must have had before none is waited for.
    due: BTreeMap<String, usize>,
}

impl Fleet {
    /// Starts the fleet. The nodes register and request certificates at once.
    pub fn start(assets: &Assets, cluster: &Cluster, options: &Options) -> Result<Self> {
        let name = format!("fleet-{}-{}", options.prefix, options.first_index);
        let ca = cluster.authority().pair();
        let server = options.server.as_deref().unwrap_or(cluster.server());
        let mut launch = Launch::new(&name, &assets.fleet, cluster.dir())
            .with_stdin()
            .args([
                format!("--server={server}"),
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

    /// Returns the names of the nodes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the process, to pause or measure it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns all certificates so far, in the order of issue.
    pub fn issued(&self) -> Vec<Issued> {
        let lines = self.process.stdout.lines();
        lines
            .iter()
            .filter_map(|line| parse(line))
            .filter_map(issue)
            .collect()
    }

    /// Returns the latest certificate of each node.
    pub fn latest(&self) -> BTreeMap<String, Issued> {
        self.issued()
            .into_iter()
            .map(|issued| (issued.node.clone(), issued))
            .collect()
    }

    /// Returns all errors so far, such as a Node that could not be created.
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

    /// Discards a node's certificate, so that it requests a new one, like a kubelet that lost its
    /// disk.
    pub fn rotate(&mut self, node: &str) -> Result<()> {
        self.expect(&[node.to_owned()])?;
        self.command(&format!("rotate {node}"))
    }

    /// Discards the certificates of all nodes.
    pub fn rotate_all(&mut self) -> Result<()> {
        let names = self.names.clone();
        self.expect(&names)?;
        self.command("rotate all")
    }

    /// Replaces a node's InternalIPs. It reports them and requests a certificate with them.
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

    /// Returns the nodes that wait for their first certificate, or for a renewal.
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
        // Counted line by line: 2,000 nodes write thousands of lines.
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

    /// Waits until this node has a certificate that it had not at the last [`Fleet::rotate`] or
    /// [`Fleet::set_addresses`], or its first one.
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
