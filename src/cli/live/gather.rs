//! Everything that is read in one look.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::{DynamicObject, ListParams};
use kube::{Client, Resource};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::task::JoinSet;

use super::history::History;
use super::lists::{Listed, list, pruned};
use super::{Known, Look, Lookout};
use crate::cli::evidence_builder::{EvidenceBuilder, Taken, typed};
use crate::cli::snapshot::Unread;
use crate::cluster::apiserver_certificates::{ApiServer, CertificateReader};
use crate::cluster::objects::SlimRequest;
use crate::cluster::protected_objects::{
    CLUSTER_INFO, KUBERNETES_SERVICE, required_object_missing,
};
use crate::sources::machine_watch::discover;
use judge::csr::KUBELET_SERVING_SIGNER;
use judge::csr::names::NodeName;
use judge::evidence::{Fact, Source};
use judge::policy::{MachineKind, Requirement};

/// One source's objects, or why they cannot be read.
type Read = (Source, Result<Vec<Value>, String>);

pub(super) async fn gather(lookout: &mut Lookout) -> Result<Look> {
    let now = Timestamp::now();
    let spec = lookout.policy.spec.clone();
    let client = lookout.connection.watches.clone();
    let mut requests = match requests(&client).await {
        Ok(requests) => requests,
        Err(why) => bail!(
            "CertificateSigningRequests cannot be read from {}: {why}",
            lookout.connection.server()
        ),
    };
    // The first node that had a key stays its owner.
    requests.sort_unstable_by(|one, other| age_and_name(one).cmp(&age_and_name(other)));

    let mut intake = EvidenceBuilder::new(&spec);
    intake.nodes_since = now;
    let mut look = Unfinished {
        now,
        read: vec![Source::Requests],
        unread: Vec::new(),
        objects: Vec::new(),
        kubelet_ports: HashMap::new(),
        keep: lookout.keep,
    };
    intake.evidence.apply(Fact::Synced(Source::Requests), now);
    let machines = machines(lookout.machines.clone(), spec.sources.machines.clone());
    let (built_in, machines) = tokio::join!(built_in(&client), machines);
    for read in built_in.into_iter().chain(machines) {
        look.take(read, &mut intake);
    }
    if let Some(file) = &lookout.inventory {
        intake.take_inventory(file.inventory.clone());
        look.synced(Source::Inventory, &mut intake);
    }
    let required = spec.protected.endpoint_certificates == Requirement::Required;
    let servers = certificates(lookout, required, &mut look, &mut intake).await;
    remember_addresses(lookout, &mut intake);

    let (known, histories): (Vec<Taken>, Vec<History>) = requests.into_iter().unzip();
    for taken in known {
        intake.take_request(taken);
    }
    let requests = intake.requests.into_iter().zip(histories);
    Ok(Look {
        now,
        requests: requests
            .map(|(taken, history)| Known { taken, history })
            .collect(),
        evidence: intake.evidence,
        read: look.read,
        unread: look.unread,
        kubelet_ports: look.kubelet_ports,
        objects: look.objects,
        servers,
        answers: Vec::new(),
    })
}

/// What is noted while it is read.
struct Unfinished {
    now: Timestamp,
    read: Vec<Source>,
    unread: Vec<Unread>,
    objects: Vec<Value>,
    kubelet_ports: HashMap<NodeName, u16>,
    keep: bool,
}

impl Unfinished {
    fn take(&mut self, (source, read): Read, intake: &mut EvidenceBuilder) {
        let objects = match read {
            Ok(objects) => objects,
            Err(why) => return self.failed(source, &why, intake),
        };
        if objects.is_empty()
            && let Some(why) = required_object_missing(source)
        {
            return self.failed(source, &why, intake);
        }
        for object in objects {
            if let Some((node, port)) = kubelet_port(&object) {
                self.kubelet_ports.insert(node, port);
            }
            if self.keep {
                self.objects.push(object.clone());
            }
            if let Err(why) = intake.take(object) {
                return self.failed(source, &format!("{why:#}"), intake);
            }
        }
        self.synced(source, intake);
    }

    fn synced(&mut self, source: Source, intake: &mut EvidenceBuilder) {
        intake.evidence.apply(Fact::Synced(source), self.now);
        self.read.push(source);
    }

    fn failed(&mut self, source: Source, why: &str, intake: &mut EvidenceBuilder) {
        intake
            .evidence
            .apply(Fact::Failed(source, why.to_owned()), self.now);
        self.unread.push(Unread::new(source, self.now, why));
    }
}

fn age_and_name(request: &(Taken, History)) -> (Timestamp, &str) {
    (request.0.object.created, &request.0.object.name)
}

async fn requests(client: &Client) -> Result<Vec<(Taken, History)>, String> {
    let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let params = ListParams::default().fields(&ours);
    let listed = Listed::of::<CertificateSigningRequest>(None);
    let all = list(client, &listed, &params, taken).await?;
    all.into_iter()
        .collect::<Result<_>>()
        .map_err(|why| format!("{why:#}"))
}

/// A request with what has become of it.
pub(super) fn taken(object: Value) -> Result<(Taken, History)> {
    let history = History::of(&object);
    let (object, encoded) = typed::<SlimRequest>(object)?.split();
    Ok((Taken { object, encoded }, history))
}

async fn built_in(client: &Client) -> [Read; 5] {
    let everything = ListParams::default();
    let (namespace, name) = KUBERNETES_SERVICE;
    let service = ListParams::default().fields(&format!("metadata.name={name}"));
    let slices = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let (public, info) = CLUSTER_INFO;
    let cluster_info = ListParams::default().fields(&format!("metadata.name={info}"));
    let of = |listed: Listed, params: ListParams| async move {
        list(client, &listed, &params, pruned).await
    };
    let (nodes, service, slices, cidrs, info) = tokio::join!(
        of(Listed::of::<Node>(None), everything.clone()),
        of(Listed::of::<Service>(Some(namespace)), service),
        of(Listed::of::<EndpointSlice>(Some(namespace)), slices),
        of(Listed::of::<ServiceCIDR>(None), everything),
        of(Listed::of::<ConfigMap>(Some(public)), cluster_info),
    );
    [
        (Source::Nodes, nodes),
        (Source::KubernetesService, service),
        (Source::ApiServerEndpoints, slices),
        (Source::ServiceCidrs, cidrs),
        (Source::ClusterInfo, info),
    ]
}

/// The Machines of all kinds that the policy names, if it names any.
async fn machines(client: Client, kinds: Vec<MachineKind>) -> Option<Read> {
    if kinds.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    for kind in &kinds {
        match machines_of(&client, kind).await {
            Ok(machines) => all.extend(machines),
            Err(why) => return Some((Source::Machines, Err(format!("{kind}: {why}")))),
        }
    }
    Some((Source::Machines, Ok(all)))
}

async fn machines_of(client: &Client, kind: &MachineKind) -> Result<Vec<Value>, String> {
    let resource = discover(client, kind)
        .await
        .map_err(|error| error.to_string())?;
    let path = <DynamicObject as Resource>::url_path(&resource, kind.namespace.as_deref());
    let listed = Listed {
        path,
        api_version: resource.api_version,
        kind: resource.kind,
    };
    let mut params = ListParams::default();
    if let Some(labels) = &kind.label_selector {
        params = params.labels(labels);
    }
    list(client, &listed, &params, pruned).await
}

/// Reads the certificate of every API server, as the daemon does.
async fn certificates(
    lookout: &Lookout,
    required: bool,
    look: &mut Unfinished,
    intake: &mut EvidenceBuilder,
) -> Vec<(ApiServer, CertificateDer<'static>)> {
    let source = Source::ApiServerCertificates;
    let reader = match CertificateReader::new(&lookout.connection.config) {
        Ok(reader) => reader,
        Err(why) => {
            look.failed(source, &why.to_string(), intake);
            return Vec::new();
        }
    };
    let configured = ApiServer::configured(&lookout.connection.config);
    let servers: BTreeSet<ApiServer> = intake
        .servers
        .iter()
        .cloned()
        .chain(configured.clone())
        .collect();
    let mut reads = JoinSet::new();
    for server in servers {
        let reader = reader.clone();
        reads.spawn(async move {
            let read = reader.read(&server).await;
            (server, read)
        });
    }
    let mut shown = Vec::new();
    let mut failure = None;
    while let Some(read) = reads.join_next().await {
        let (server, read) = match read {
            Ok(read) => read,
            Err(error) => {
                failure = Some(error.to_string());
                continue;
            }
        };
        let known_by = read.and_then(|certificate| {
            let sans = server.identities(&certificate)?;
            Ok((certificate, sans))
        });
        match known_by {
            Ok((certificate, sans)) => {
                let fact = Fact::Protected(server.protection(sans));
                intake.evidence.apply(fact, look.now);
                shown.push((server, certificate));
            }
            Err(why) if required || Some(&server) == configured.as_ref() => {
                failure = Some(why.to_string());
            }
            Err(_) => {}
        }
    }
    match failure {
        Some(why) => look.failed(source, &why, intake),
        None => look.synced(source, intake),
    }
    shown.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    shown
}

/// A Node that had these addresses in an earlier look has had them since then.
fn remember_addresses(lookout: &mut Lookout, intake: &mut EvidenceBuilder) {
    let mut nodes: Vec<_> = intake.evidence.nodes().iter().cloned().collect();
    for node in &mut nodes {
        let earlier = lookout.since.get(&node.name);
        if let Some((uid, addresses, since)) = earlier
            && *uid == node.uid
            && *addresses == node.addresses
        {
            node.addresses_since = *since;
        }
    }
    let seen = nodes.iter().map(|node| {
        let had = (
            node.uid.clone(),
            node.addresses.clone(),
            node.addresses_since,
        );
        (node.name.clone(), had)
    });
    lookout.since = seen.collect();
    for node in nodes {
        let now = node.addresses_since;
        intake
            .evidence
            .apply(Fact::NodeGone(node.name.clone()), now);
        intake.evidence.apply(Fact::Node(Box::new(node)), now);
    }
}

fn kubelet_port(object: &Value) -> Option<(NodeName, u16)> {
    let port = object.pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?;
    let port = u16::try_from(port.as_u64()?)
        .ok()
        .filter(|port| *port > 0)?;
    let name = object.pointer("/metadata/name")?.as_str()?;
    Some((NodeName::parse(name)?, port))
}
