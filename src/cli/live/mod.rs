//! One look at a live cluster: all that the daemon watches, read once, by the same conversions. What
//! cannot be read is named and leaves its source unready, so that verdicts wait.

mod answers;
mod gather;
mod history;
mod lists;

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use jiff::Timestamp;
use kube::Client;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

pub(super) use history::{Decided, History, Issued};

use super::cluster_args::ClusterArgs;
use super::evidence_builder::Taken;
use super::judging_args::JudgingArgs;
use super::policy::PolicyFile;
use super::snapshot::{Seen, Unread};
use crate::cluster::apiserver_certificates::ApiServer;
use crate::cluster::connection::Connection;
use crate::controller::InventoryFile;
use judge::csr::Request;
use judge::csr::names::NodeName;
use judge::evidence::{Answer, Evidence, Fact, NodeAddress, Source};
use judge::finding::Question;
use judge::policy::Policy;
use judge::{Judgment, judge};

/// How long nobody is told that it takes long.
const QUIET: Duration = Duration::from_secs(1);

/// Flags of every command that judges what is on a cluster.
#[derive(Clone, Debug, Args)]
pub(super) struct LiveArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    judging: JudgingArgs,
}

/// Looks at one cluster, again and again.
pub(super) struct Lookout {
    pub(super) connection: Connection,
    pub(super) policy: Arc<Policy>,
    pub(super) policy_file: Option<PolicyFile>,
    pub(super) inventory: Option<InventoryFile>,
    pub(super) authorities: Vec<Vec<u8>>,
    machines: Client,
    /// Whether objects are kept as they came.
    keep: bool,
    /// What each Node had when it was seen first with these addresses.
    since: HashMap<NodeName, (Box<str>, Vec<NodeAddress>, Timestamp)>,
}

/// A request on the cluster.
pub(super) struct Known {
    pub(super) taken: Taken,
    pub(super) history: History,
}

/// What one look has shown.
pub(super) struct Look {
    /// When it began. All is judged as of this time.
    pub(super) now: Timestamp,
    /// The requests for kubelets' serving certificates, the oldest first.
    pub(super) requests: Vec<Known>,
    pub(super) evidence: Evidence,
    /// The sources that were read, and those that could not be.
    pub(super) read: Vec<Source>,
    pub(super) unread: Vec<Unread>,
    /// The port of each Node's kubelet, where the Node says one.
    pub(super) kubelet_ports: HashMap<NodeName, u16>,
    /// The objects, if they are kept.
    pub(super) objects: Vec<Value>,
    servers: Vec<(ApiServer, CertificateDer<'static>)>,
    answers: Vec<(Question, Answer, Timestamp)>,
}

impl LiveArgs {
    /// Reads the policy, the inventory and the kubeconfig; nothing is sent yet.
    pub(super) async fn lookout(&self, keep: bool) -> Result<Lookout> {
        let (policy, policy_file) = self.judging.policy()?;
        let inventory = self.judging.inventory()?;
        let connection = self.cluster.connect().await?;
        Ok(Lookout {
            authorities: self.judging.kubelet_authorities(&connection)?,
            machines: self.judging.machines(&connection).await?,
            connection,
            policy: Arc::new(policy),
            policy_file,
            inventory,
            keep,
            since: HashMap::new(),
        })
    }
}

impl Lookout {
    /// Reads everything. An error only if the requests themselves cannot be read.
    pub(super) async fn look(&mut self) -> Result<Look> {
        let quiet = async {
            tokio::time::sleep(QUIET).await;
            if std::io::stderr().is_terminal() {
                let _ = std::io::stderr().write_all(b"reading the cluster ...\r");
            }
            std::future::pending::<()>().await;
        };
        let look = tokio::select! {
            look = gather::gather(self) => look,
            () = quiet => Err(anyhow!("interrupted")),
        };
        if std::io::stderr().is_terminal() {
            // Takes the line back, if it was written.
            let _ = std::io::stderr().write_all(b"\x1b[2K\r");
        }
        look
    }
}

impl Known {
    /// The request that this object is.
    pub(super) fn of(object: Value) -> Result<Known> {
        let (taken, history) = gather::taken(object)?;
        Ok(Known { taken, history })
    }
}

impl Look {
    /// Judges by what is known now.
    pub(super) fn judge(&self, request: &Request, policy: &Policy) -> Judgment {
        judge(request, policy, &self.evidence, self.now)
    }

    /// What could not be read, in one line each, for people.
    pub(super) fn told(&self) -> Vec<String> {
        let unread = self.unread.iter();
        unread
            .map(|unread| format!("{} cannot be read: {}", unread.source, unread.why))
            .collect()
    }

    /// Takes the addresses of all Nodes as what they have always been, as offline evidence is taken:
    /// for what writes nothing.
    pub(super) fn addresses_stand(&mut self) {
        let nodes: Vec<_> = self.evidence.nodes().iter().cloned().collect();
        for mut node in nodes {
            node.addresses_since = Timestamp::UNIX_EPOCH;
            self.evidence
                .apply(Fact::NodeGone(node.name.clone()), self.now);
            self.evidence.apply(Fact::Node(Box::new(node)), self.now);
        }
    }

    /// All that is in no object, for a file.
    pub(super) fn seen(&self, request: &Taken) -> Seen<'_> {
        let key = Request::key_of(&request.encoded);
        let owner = key.and_then(|key| Some((key, self.evidence.keys().owner(&key)?.clone())));
        Seen {
            at: self.now,
            read: self.read.clone(),
            unread: &self.unread,
            servers: &self.servers,
            keys: owner.into_iter().collect(),
            answers: &self.answers,
        }
    }
}
