//! One complete read of the cluster.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DynamicObject, ListParams};
use kube::{Client, Resource};
use serde_json::Value;
use tokio::task::JoinSet;

use super::history::History;
use super::lists::{ListError, Listed, Objects, list, pruned};
use super::{Known, Look, Lookout, Unread};
use crate::cli::evidence_builder::{EvidenceBuilder, Taken};
use crate::cluster::apiserver_certificates::{ApiServer, CertificateReader};
use crate::cluster::list::Undecodable;
use crate::cluster::protected_objects::{Kind, required_object_missing};
use crate::sources::machine_watch::discover;
use judge::csr::KUBELET_SERVING_SIGNER;
use judge::csr::names::NodeName;
use judge::evidence::{Fact, Protection, Source};
use judge::policy::{MachineKind, Requirement};

/// Objects of one source, or the reason why they cannot be read.
type Read = (Source, Result<Objects<Value>, ListError>);

pub(super) async fn gather(lookout: &mut Lookout) -> Result<Look> {
    lookout.connection.ask_time().await;
    let now = lookout.now();
    let spec = lookout.policy.spec.clone();
    let client = lookout.connection.watches.clone();
    let (mut requests, undecodable, unread) = match requests(&client).await {
        Ok(objects) => (objects.items, objects.undecodable, None),
        Err(why) if !lookout.needs_requests => (Vec::new(), Vec::new(), Some(why)),
        Err(why) => bail!(
            "CertificateSigningRequests cannot be read from {}: {why}",
            lookout.connection.server()
        ),
    };
    // Oldest first: the first node with a key stays its owner.
    requests.sort_unstable_by(|one, other| age_and_name(one).cmp(&age_and_name(other)));

    let mut gathered = Gathered {
        builder: EvidenceBuilder::new(&spec),
        now,
        objects: Vec::new(),
        kubelet_ports: HashMap::new(),
        keep: lookout.keep,
        undecodable: Vec::new(),
    };
    match unread {
        None => gathered.synced(Source::Requests),
        Some(why) => gathered.failed(Source::Requests, why.to_string()),
    }
    gathered.skipped(Source::Requests, &undecodable);
    let machines = machines(lookout.machines.clone(), spec.sources.machines.clone());
    let (built_in, machines) = tokio::join!(built_in(&client), machines);
    for read in built_in.into_iter().chain(machines) {
        gathered.add(read);
    }
    if let Some(file) = &lookout.inventory {
        let inventory = Fact::Inventory(Box::new(file.inventory.clone()));
        gathered.builder.add_shown(Source::Inventory, inventory);
        gathered.synced(Source::Inventory);
    }
    let required = spec.protected.endpoint_certificates == Requirement::Required;
    let certificates = certificates(lookout, required, &mut gathered).await;

    let undecodable = gathered.undecodable;
    let mut builder = gathered.builder;
    let (known, histories): (Vec<Taken>, Vec<History>) = requests
        .into_iter()
        .map(|known| (known.taken, known.history))
        .unzip();
    known
        .into_iter()
        .for_each(|taken| builder.add_request(taken));
    let addresses = &mut lookout.addresses;
    let (requests, evidence) = builder.build(&spec, now, |node| addresses.since(node, now));
    addresses.remember(evidence.nodes());
    let requests = requests.into_iter().zip(histories);
    Ok(Look {
        now,
        requests: requests
            .map(|(taken, history)| Known { taken, history })
            .collect(),
        evidence,
        kubelet_ports: gathered.kubelet_ports,
        objects: gathered.objects,
        certificates,
        undecodable,
        answers: Vec::new(),
    })
}

/// Evidence and objects collected while the cluster is read.
struct Gathered {
    builder: EvidenceBuilder,
    now: Timestamp,
    objects: Vec<Value>,
    kubelet_ports: HashMap<NodeName, u16>,
    keep: bool,
    /// Objects that cannot be decoded.
    undecodable: Vec<Unread>,
}

impl Gathered {
    fn add(&mut self, (source, read): Read) {
        let Objects { items, undecodable } = match read {
            Ok(objects) => objects,
            Err(ListError::Failed(why)) => return self.failed(source, why),
            Err(ListError::NotServed(why)) => {
                let fact = Fact::NotServed(source, why);
                return self.builder.add_stated(fact, self.now);
            }
        };
        // The identities that an undecodable object protects are unknown.
        if let Some(first) = undecodable.first()
            && Kind::ALL.into_iter().any(|kind| kind.source() == source)
        {
            return self.failed(source, described(first));
        }
        self.skipped(source, &undecodable);
        if items.is_empty()
            && let Some(why) = required_object_missing(source)
        {
            return self.failed(source, why);
        }
        for object in items {
            if let Some((node, port)) = kubelet_port(&object) {
                self.kubelet_ports.insert(node, port);
            }
            if self.keep {
                self.objects.push(object.clone());
            }
            if let Err(why) = self.builder.add_object(object) {
                return self.failed(source, format!("{why:#}"));
            }
        }
        self.synced(source);
    }

    /// Records objects that cannot be decoded. All others are known.
    fn skipped(&mut self, source: Source, undecodable: &[Undecodable]) {
        self.undecodable
            .extend(undecodable.iter().map(|object| Unread {
                source: source.as_str().to_owned(),
                since: self.now,
                reason: described(object),
            }));
    }

    fn synced(&mut self, source: Source) {
        self.builder.add_stated(Fact::Synced(source), self.now);
    }

    fn failed(&mut self, source: Source, why: String) {
        self.builder.add_stated(Fact::Failed(source, why), self.now);
    }
}

fn described(object: &Undecodable) -> String {
    format!("object `{}` cannot be decoded: {}", object.name, object.why)
}

fn age_and_name(known: &Known) -> (Timestamp, &str) {
    (known.taken.object.created, &known.taken.object.name)
}

async fn requests(client: &Client) -> Result<Objects<Known>, ListError> {
    let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let params = ListParams::default().fields(&ours);
    let listed = Listed::of::<CertificateSigningRequest>(None);
    let named = |object: Value| {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.unwrap_or_default().to_owned();
        Known::of(object).map_err(|why| Undecodable {
            name,
            why: format!("{why:#}"),
        })
    };
    let all = list(client, &listed, &params, named).await?;
    let mut undecodable = all.undecodable;
    let mut items = Vec::new();
    for known in all.items {
        match known {
            Ok(known) => items.push(known),
            Err(object) => undecodable.push(object),
        }
    }
    Ok(Objects { items, undecodable })
}

/// Lists Nodes and the protecting objects.
async fn built_in(client: &Client) -> Vec<Read> {
    let nodes = async {
        let everything = ListParams::default();
        let nodes = list(client, &Listed::of::<Node>(None), &everything, pruned).await;
        vec![(Source::Nodes, nodes)]
    };
    let protecting = Kind::ALL.map(|kind| async move {
        let (listed, params) = Listed::protecting(kind);
        (kind.source(), list(client, &listed, &params, pruned).await)
    });
    let (nodes, protecting) = tokio::join!(nodes, join_all(protecting));
    nodes.into_iter().chain(protecting).collect()
}

/// Lists Machines of all kinds that the policy names; `None` if it names none.
async fn machines(client: Client, kinds: Vec<MachineKind>) -> Option<Read> {
    if kinds.is_empty() {
        return None;
    }
    let mut all = Objects {
        items: Vec::new(),
        undecodable: Vec::new(),
    };
    for kind in &kinds {
        match machines_of(&client, kind).await {
            Ok(machines) => {
                all.items.extend(machines.items);
                all.undecodable.extend(machines.undecodable);
            }
            Err(why) => {
                let why = ListError::Failed(format!("{kind}: {why}"));
                return Some((Source::Machines, Err(why)));
            }
        }
    }
    Some((Source::Machines, Ok(all)))
}

async fn machines_of(client: &Client, kind: &MachineKind) -> Result<Objects<Value>, ListError> {
    let resource = discover(client, kind)
        .await
        .map_err(|error| ListError::Failed(error.to_string()))?;
    let path = <DynamicObject as Resource>::url_path(&resource, kind.namespace.as_deref());
    let listed = Listed {
        path,
        api_version: resource.api_version,
        kind: resource.kind,
    };
    let mut params = ListParams::default();
    if let Some(labels) = &kind.label_selector {
        params = params.labels(&labels.to_string());
    }
    list(client, &listed, &params, pruned).await
}

/// Reads the certificate of every API server, as the daemon does. Returns their protections.
async fn certificates(
    lookout: &Lookout,
    required: bool,
    gathered: &mut Gathered,
) -> Vec<Protection> {
    let source = Source::ApiServerCertificates;
    let reader = match CertificateReader::new(&lookout.connection.config, &lookout.connection.clock)
    {
        Ok(reader) => reader,
        Err(why) => {
            gathered.failed(source, why.to_string());
            return Vec::new();
        }
    };
    let configured = ApiServer::configured(&lookout.connection.config);
    let endpoints = gathered.builder.servers.iter().cloned();
    let servers: BTreeSet<ApiServer> = endpoints.chain(configured.clone()).collect();
    let mut reads = JoinSet::new();
    for server in servers {
        let reader = reader.clone();
        reads.spawn(async move {
            let read = reader.read(&server).await;
            let protection = read.and_then(|certificate| server.protection(&certificate));
            (server, protection)
        });
    }
    let mut protections = Vec::new();
    let mut failure = None;
    while let Some(read) = reads.join_next().await {
        match read {
            Ok((_, Ok(protection))) => protections.push(protection),
            Ok((server, Err(why))) if required || Some(&server) == configured.as_ref() => {
                failure = Some(why.to_string());
            }
            Ok((_, Err(_))) => {}
            Err(error) => failure = Some(error.to_string()),
        }
    }
    match failure {
        Some(why) => gathered.failed(source, why),
        None => gathered.synced(source),
    }
    protections.sort_unstable_by(|one, other| one.origin.cmp(&other.origin));
    for protection in &protections {
        let protected = Fact::Protected(protection.clone());
        gathered.builder.add_stated(protected, gathered.now);
    }
    protections
}

fn kubelet_port(object: &Value) -> Option<(NodeName, u16)> {
    let port = object.pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?;
    let port = u16::try_from(port.as_u64()?)
        .ok()
        .filter(|port| *port > 0)?;
    let name = object.pointer("/metadata/name")?.as_str()?;
    Some((NodeName::parse(name)?, port))
}
