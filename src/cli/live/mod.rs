//! One read of a live cluster: the daemon's sources, with the same conversions. A source that
//! cannot be read is reported and stays unready, so that verdicts wait.

mod address_ages;
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
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub(super) use address_ages::AddressAges;
pub(super) use history::{Decided, History, Issued};

use super::cluster_args::{ClusterArgs, RequestTimeout};
use super::evidence_builder::{Taken, read_request};
use super::judging_args::JudgingArgs;
use super::snapshot::Snapshot;
use crate::cluster::connection::Connection;
use crate::controller::InventoryFile;
use crate::sources::replaced_file::FileVersion;
use judge::csr::Request;
use judge::csr::names::NodeName;
use judge::evidence::{Evidence, Fact, Protection, Source, TimedFact};
use judge::policy::Policy;
use judge::{Judgment, judge};

/// Time before a slow read is reported on the terminal.
const QUIET: Duration = Duration::from_secs(1);

/// Flags of every command that judges what is on a cluster.
#[derive(Clone, Debug, Args)]
pub(super) struct LiveArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    timeout: RequestTimeout,
    #[command(flatten)]
    judging: JudgingArgs,
}

/// Reader of one cluster, for one or more passes.
pub(super) struct Lookout {
    pub(super) connection: Connection,
    pub(super) policy: Arc<Policy>,
    pub(super) policy_file: Option<FileVersion>,
    pub(super) inventory: Option<InventoryFile>,
    pub(super) authorities: Vec<Vec<u8>>,
    machines: Client,
    /// True to keep the API objects, for `explain --save` and `doctor`.
    keep: bool,
    /// False to go on without CertificateSigningRequests, for a command that needs none.
    pub(super) needs_requests: bool,
    /// First observation of each Node's addresses.
    pub(super) addresses: AddressAges,
    /// The latest time of a read.
    latest: Timestamp,
}

/// Request on the cluster, with its history.
pub(super) struct Known {
    pub(super) taken: Taken,
    pub(super) history: History,
}

/// Requests and evidence from one read of the cluster.
pub(super) struct Look {
    /// Start of the read, by the API server's clock. Requests are judged as of this time.
    pub(super) now: Timestamp,
    /// Requests for kubelet serving certificates, the oldest first.
    pub(super) requests: Vec<Known>,
    pub(super) evidence: Evidence,
    /// Kubelet port of each Node that publishes one.
    pub(super) kubelet_ports: HashMap<NodeName, u16>,
    /// API objects, if they are kept.
    pub(super) objects: Vec<Value>,
    /// Protections from the certificates of API servers.
    certificates: Vec<Protection>,
    /// Objects that cannot be decoded.
    undecodable: Vec<Unread>,
    answers: Vec<TimedFact>,
}

/// A source that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(super) struct Unread {
    /// Its name, as in metrics.
    pub(super) source: String,
    /// Since when.
    #[schemars(with = "String")]
    since: Timestamp,
    /// Why, for a person.
    pub(super) reason: String,
}

impl LiveArgs {
    /// The same flags for another context.
    pub(super) fn in_context(&self, name: &str) -> LiveArgs {
        LiveArgs {
            cluster: self.cluster.in_context(name),
            ..self.clone()
        }
    }

    /// Names of all contexts in the kubeconfig.
    pub(super) fn contexts(&self) -> Result<Vec<String>> {
        self.cluster.contexts()
    }

    /// Flags that select the cluster.
    pub(super) fn cluster(&self) -> &ClusterArgs {
        &self.cluster
    }

    /// Reads the policy, the inventory and the kubeconfig. No request is sent yet.
    pub(super) async fn lookout(&self, keep: bool) -> Result<Lookout> {
        let (policy, policy_file) = self.judging.policy()?;
        let inventory = self.judging.inventory()?;
        let connection = self.cluster.connect_within(&self.timeout).await?;
        Ok(Lookout {
            authorities: self.judging.kubelet_authorities(&connection)?,
            machines: self.judging.machines(&connection).await?,
            connection,
            policy: Arc::new(policy),
            policy_file,
            inventory,
            keep,
            needs_requests: true,
            addresses: AddressAges::default(),
            latest: Timestamp::UNIX_EPOCH,
        })
    }
}

impl Lookout {
    /// The API server's time. A further answer can show that it is earlier than it seemed, but ages never
    /// shrink.
    pub(super) fn now(&mut self) -> Timestamp {
        self.latest = self.latest.max(self.connection.clock.wall());
        self.latest
    }

    /// Reads the cluster. Fails only if CertificateSigningRequests are needed and cannot be read.
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
            // Clear the progress line, if it was written.
            let _ = std::io::stderr().write_all(b"\x1b[2K\r");
        }
        look
    }
}

impl Known {
    /// Decodes a CertificateSigningRequest and its history.
    pub(super) fn of(object: Value) -> Result<Known> {
        let history = History::of(&object);
        let taken = read_request(object)?;
        Ok(Known { taken, history })
    }
}

impl Look {
    /// Judges a request by the evidence collected so far.
    pub(super) fn judge(&self, request: &Request, policy: &Policy) -> Judgment {
        judge(request, policy, &self.evidence, self.now)
    }

    /// Sources that could not be read, and objects that cannot be decoded.
    pub(super) fn unread(&self) -> Vec<Unread> {
        let unread = |source: Source| {
            let (since, why) = self.evidence.sources().state(source).failing?;
            let is_replaced = self.evidence.sources().is_not_served(source)
                && !self
                    .evidence
                    .required_sources()
                    .any(|needed| needed == source);
            if is_replaced {
                return None;
            }
            let source = source.as_str().to_owned();
            Some(Unread {
                source,
                since,
                reason: why,
            })
        };
        let sources = Source::ALL.into_iter().filter_map(unread);
        sources.chain(self.undecodable.iter().cloned()).collect()
    }

    /// Sources that could not be read, one line each, for people.
    pub(super) fn told(&self) -> Vec<String> {
        let unread = self.unread().into_iter();
        unread
            .map(|unread| format!("{} cannot be read: {}", unread.source, unread.reason))
            .collect()
    }

    /// Facts for a verdict on this request that no saved API object contains.
    pub(super) fn snapshot(&self, request: &Taken) -> Snapshot {
        let mut facts: Vec<TimedFact> = Source::ALL
            .into_iter()
            .flat_map(|source| self.facts_of_source(source))
            .collect();
        let certificates = self.certificates.iter().cloned();
        facts.extend(certificates.map(|protection| (Fact::Protected(protection), self.now)));
        facts.extend(self.owner_of_key(request));
        facts.extend(self.answers.iter().cloned());
        Snapshot {
            nodes_since: self.now,
            facts,
        }
    }

    fn facts_of_source(&self, source: Source) -> Vec<TimedFact> {
        let state = self.evidence.sources().state(source);
        let is_not_served = state.is_not_served;
        let fact = match (state.synced, state.failing) {
            (synced, None) => {
                return synced
                    .map(|at| (Fact::Synced(source), at))
                    .into_iter()
                    .collect();
            }
            (None, Some((at, why))) if is_not_served => (Fact::NotServed(source, why), at),
            (None, Some((at, why))) => (Fact::Incomplete(source, why), at),
            (Some(synced), Some((at, why))) => {
                return vec![
                    (Fact::Synced(source), synced),
                    (Fact::Failed(source, why), at),
                ];
            }
        };
        vec![fact]
    }

    /// Fact that the request's key is in use, if it is. Other requests are not saved.
    fn owner_of_key(&self, request: &Taken) -> Option<TimedFact> {
        let key = Request::key_of(&request.encoded)?;
        self.evidence.keys().owner(&key)?;
        let known = self.requests.iter();
        let mut in_use = known.filter_map(|known| known.taken.key_in_use());
        in_use.find(|(fact, _)| matches!(fact, Fact::Key(other, _) if *other == key))
    }
}
