//! The watches and the certificate reader, turned into one stream of inputs.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::Api;
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::asking::{Answered, Asker};
use super::setup::Setup;
use crate::cluster::certificates::{ApiServer, CertificateReader};
use crate::cluster::connection::Connection;
use crate::cluster::objects::{SlimNode, SlimRequest};
use crate::cluster::protected::{CLUSTER_INFO, KUBERNETES_SERVICE, ProtectingObject};
use crate::cluster::watch::{Backoff, Change, follow, jitter};
use crate::csr::names::San;
use crate::csr::{KUBELET_SERVING_SIGNER, Object};
use crate::evidence::{IdentityKind, Inventory, Node, Source};
use crate::policy::{Demand, Policy};
use crate::sources::machine_watch::News;

/// Inputs that may wait for the controller: it keeps up, or the watches slow down.
const WAITING: usize = 256;
/// How often certificates are read again, without a reason.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// Something that has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The watch on requests.
    Request(Change<Box<(Object, Vec<u8>)>>),
    /// The watch on Nodes.
    Node(Change<Box<Node>>),
    /// The watches on Machines, of this generation.
    Machines(u64, News),
    /// The policy has been read anew, or cannot be.
    Policy(Result<Box<Policy>, String>),
    /// The administrator's inventory has been read.
    Inventory(Box<Inventory>),
    /// A question has been answered.
    Answered(Box<Answered>),
    /// An origin protects these and nothing else.
    Protected {
        /// Who says so.
        origin: String,
        /// What they are.
        kind: IdentityKind,
        /// Names and addresses.
        sans: Vec<San>,
        /// Networks.
        networks: Vec<IpNet>,
    },
    /// An origin protects nothing any more.
    Unprotected(String),
    /// A source is complete.
    Synced(Source),
    /// A source fails; what it said before may hold for a while.
    Failed(Source, String),
    /// A source fails in a way that leaves something unknown.
    Incomplete(Source, String),
}

/// The policy in force.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) policy: Arc<Policy>,
    /// Of its list of kinds of Machines.
    pub(super) generation: u64,
}

pub(super) type Inputs = mpsc::Sender<Input>;

/// Starts every feed; they end when the receiver is dropped.
pub(super) fn start(
    connection: &Connection,
    setup: Setup,
    policy: watch::Receiver<InForce>,
) -> (mpsc::Receiver<Input>, Asker) {
    let (inputs, receiver) = mpsc::channel(WAITING);
    let asker = Asker::start(setup.kubelet_authorities.clone(), inputs.clone());
    setup.start(&policy, &inputs);
    let client = connection.watches.clone();
    let (servers, endpoints) = watch::channel(None);
    tokio::spawn(follow_nodes(Api::all(client.clone()), inputs.clone()));
    tokio::spawn(follow_requests(Api::all(client.clone()), inputs.clone()));

    let (namespace, name) = KUBERNETES_SERVICE;
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    tokio::spawn(follow_protecting::<Service>(
        Api::namespaced(client.clone(), namespace),
        named(name),
        Source::KubernetesService,
        inputs.clone(),
        None,
    ));
    tokio::spawn(follow_protecting::<EndpointSlice>(
        Api::namespaced(client.clone(), namespace),
        watcher::Config::default().labels(&format!("kubernetes.io/service-name={name}")),
        Source::ApiServerEndpoints,
        inputs.clone(),
        Some(servers),
    ));
    tokio::spawn(follow_protecting::<ServiceCIDR>(
        Api::all(client.clone()),
        watcher::Config::default(),
        Source::ServiceCidrs,
        inputs.clone(),
        None,
    ));
    let (namespace, name) = CLUSTER_INFO;
    tokio::spawn(follow_protecting::<ConfigMap>(
        Api::namespaced(client, namespace),
        named(name),
        Source::ClusterInfo,
        inputs.clone(),
        None,
    ));
    tokio::spawn(read_certificates(
        connection.clone(),
        policy,
        endpoints,
        inputs,
    ));
    (receiver, asker)
}

async fn follow_nodes(api: Api<SlimNode>, inputs: Inputs) {
    follow(api, watcher::Config::default(), |change| {
        let inputs = inputs.clone();
        async move {
            let node = |node: SlimNode| node.into_evidence(Timestamp::now()).map(Box::new);
            let change = match change {
                Change::Seen(object) => node(object).map(Change::Seen),
                Change::Gone(object) => node(object).map(Change::Gone),
                Change::Restarted => Some(Change::Restarted),
                Change::Complete => Some(Change::Complete),
                Change::Failed(why) => Some(Change::Failed(why)),
            };
            match change {
                Some(change) => inputs.send(Input::Node(change)).await.is_ok(),
                None => true,
            }
        }
    })
    .await;
}

async fn follow_requests(api: Api<SlimRequest>, inputs: Inputs) {
    let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    follow(api, watcher::Config::default().fields(&ours), |change| {
        let inputs = inputs.clone();
        async move {
            let change = match change {
                Change::Seen(object) => Change::Seen(Box::new(object.split())),
                Change::Gone(object) => Change::Gone(Box::new(object.split())),
                Change::Restarted => Change::Restarted,
                Change::Complete => Change::Complete,
                Change::Failed(why) => Change::Failed(why),
            };
            inputs.send(Input::Request(change)).await.is_ok()
        }
    })
    .await;
}

/// Follows the objects of one kind that protect something. `servers` is told of all API servers
/// among them.
async fn follow_protecting<K>(
    api: Api<K>,
    config: watcher::Config,
    source: Source,
    inputs: Inputs,
    servers: Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
) where
    K: ProtectingObject + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let known = std::sync::Arc::new(std::sync::Mutex::new(Objects::default()));
    follow(api, config, |change| {
        let inputs = inputs.clone();
        let servers = servers.clone();
        let known = known.clone();
        async move {
            let messages = match known.lock() {
                Ok(mut known) => known.change(change, source, &servers),
                Err(_) => return false,
            };
            for message in messages {
                if inputs.send(message).await.is_err() {
                    return false;
                }
            }
            true
        }
    })
    .await;
}

/// The objects of one kind that are there, with the API servers that each names.
#[derive(Default)]
struct Objects {
    servers: std::collections::BTreeMap<String, Vec<ApiServer>>,
    listed: BTreeSet<String>,
    listing: bool,
}

impl Objects {
    fn change<K: ProtectingObject>(
        &mut self,
        change: Change<K>,
        source: Source,
        servers: &Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
    ) -> Vec<Input> {
        let mut messages = Vec::new();
        match change {
            Change::Restarted => {
                self.listing = true;
                self.listed.clear();
            }
            Change::Seen(object) => {
                let protects = object.protects();
                let origin = object.origin();
                self.listed.insert(origin.clone());
                self.servers.insert(origin.clone(), protects.servers);
                messages.push(Input::Protected {
                    origin,
                    kind: K::IDENTITY,
                    sans: protects.sans,
                    networks: protects.networks,
                });
            }
            Change::Gone(object) => {
                let origin = object.origin();
                self.servers.remove(&origin);
                messages.push(Input::Unprotected(origin));
            }
            Change::Complete => {
                self.listing = false;
                let listed = std::mem::take(&mut self.listed);
                let gone = self
                    .servers
                    .extract_if(.., |origin, _| !listed.contains(origin));
                messages.extend(gone.map(|(origin, _)| Input::Unprotected(origin)));
                messages.push(Input::Synced(source));
            }
            Change::Failed(why) => messages.push(Input::Failed(source, why)),
        }
        if let Some(sender) = servers
            && !self.listing
        {
            let all = Some(self.servers.values().flatten().cloned().collect());
            sender.send_if_modified(|before| {
                *before != all && {
                    *before = all;
                    true
                }
            });
        }
        messages
    }
}

/// Reads the certificate of every API server, again when the endpoints change, and from time to
/// time.
async fn read_certificates(
    connection: Connection,
    policy: watch::Receiver<InForce>,
    mut endpoints: watch::Receiver<Option<BTreeSet<ApiServer>>>,
    inputs: Inputs,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut known: BTreeSet<ApiServer> = BTreeSet::new();
    let mut read: BTreeSet<ApiServer> = BTreeSet::new();
    let configured = ApiServer::configured(&connection.config);
    loop {
        // Which servers there are is only known once the endpoints have been listed.
        let listed = match endpoints.wait_for(Option::is_some).await {
            Ok(listed) => listed.clone(),
            Err(_) => return,
        };
        endpoints.mark_unchanged();
        let servers: BTreeSet<ApiServer> = listed
            .into_iter()
            .flatten()
            .chain(configured.clone())
            .collect();
        for gone in known.difference(&servers) {
            let _ = inputs.send(Input::Unprotected(gone.origin())).await;
        }
        read.retain(|server| servers.contains(server));
        let failures = read_all(&connection, &servers, &mut read, &inputs).await;
        known = servers;
        let demand = policy.borrow().policy.spec.protected.endpoint_certificates;
        let decisive =
            |server: &ApiServer| demand == Demand::Required || Some(server) == configured.as_ref();
        let failures = failures
            .into_iter()
            .filter(|(server, _)| server.as_ref().is_none_or(decisive));
        let message = outcome(failures.collect(), &read);
        let pause = if matches!(message, Input::Synced(_)) {
            backoff.reset();
            READ_AGAIN + jitter(READ_AGAIN / 5)
        } else {
            backoff.pause()
        };
        if inputs.send(message).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            changed = endpoints.changed() => if changed.is_err() {
                return;
            },
            () = inputs.closed() => return,
        }
    }
}

/// What is to be said of all certificates together. One that was never read goes before those that
/// were: what it protects is not known, however long ago the others were read.
fn outcome(failures: Vec<(Option<ApiServer>, String)>, read: &BTreeSet<ApiServer>) -> Input {
    let source = Source::ApiServerCertificates;
    let (known, unknown): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|(server, _)| server.as_ref().is_some_and(|server| read.contains(server)));
    match (unknown.into_iter().next(), known.into_iter().next()) {
        (Some((_, why)), _) => Input::Incomplete(source, why),
        (None, Some((_, why))) => Input::Failed(source, why),
        (None, None) => Input::Synced(source),
    }
}

/// Reads all certificates at once. Returns what failed; without a server, nothing could be read.
async fn read_all(
    connection: &Connection,
    servers: &BTreeSet<ApiServer>,
    succeeded: &mut BTreeSet<ApiServer>,
    inputs: &Inputs,
) -> Vec<(Option<ApiServer>, String)> {
    let reader = match CertificateReader::new(&connection.config) {
        Ok(reader) => reader,
        Err(why) => return vec![(None, why)],
    };
    let mut reads = JoinSet::new();
    for server in servers.iter().cloned() {
        let reader = reader.clone();
        reads.spawn(async move {
            let read = reader.read(&server).await;
            let known_by = read.and_then(|certificate| server.known_by(&certificate));
            (server, known_by)
        });
    }
    let mut failures = Vec::new();
    while let Some(read) = reads.join_next().await {
        match read {
            Ok((server, Ok(sans))) => {
                let message = Input::Protected {
                    origin: server.origin(),
                    kind: IdentityKind::ApiServerIdentity,
                    sans,
                    networks: Vec::new(),
                };
                let _ = inputs.send(message).await;
                succeeded.insert(server);
            }
            Ok((server, Err(why))) => failures.push((Some(server), why)),
            Err(error) => failures.push((None, error.to_string())),
        }
    }
    failures
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Handshakes fail in any order, and one that was read before must not hide one that was not.
    #[test]
    fn a_certificate_that_was_never_read_is_told_whichever_fails_first() {
        let server = |last: u8| ApiServer::endpoint([10, 0, 0, last].into(), 6443);
        let failed = |last| (Some(server(last)), "refused".to_owned());
        let read = BTreeSet::from([server(1)]);
        for failures in [vec![failed(1), failed(2)], vec![failed(2), failed(1)]] {
            let said = outcome(failures, &read);
            assert!(matches!(said, Input::Incomplete(..)), "{said:?}");
        }
        let said = outcome(vec![failed(1)], &read);
        assert!(matches!(said, Input::Failed(..)), "{said:?}");
        let said = outcome(vec![(None, "no CA".into())], &read);
        assert!(matches!(said, Input::Incomplete(..)), "{said:?}");
        assert!(matches!(outcome(Vec::new(), &read), Input::Synced(_)));
    }
}
