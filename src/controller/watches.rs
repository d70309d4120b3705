//! Watches: starts every task that sends inputs to the loop.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Client, Resource};
use tokio::sync::{Notify, mpsc, watch};

use super::apiserver_certificates::read_certificates;
use super::input::{InForce, Input, Inputs};
use super::lookups::Lookups;
use super::protected_objects::follow_protected_objects;
use super::reload::Setup;
use crate::cluster::clock::Clock;
use crate::cluster::connection::Connection;
use crate::cluster::objects::{SlimNode, SlimRequest};
use crate::cluster::protected_objects::{Kind, ProtectedObject, Selection};
use crate::cluster::random::Random;
use crate::cluster::relist::Relist;
use crate::cluster::watch::{Change, Selected, follow};
use judge::csr::names::NodeName;
use judge::csr::{CsrObject, FirstSeen, KUBELET_SERVING_SIGNER, Uid};
use judge::evidence::{Fact, Node, ServingCertificate, Source};

/// Limit of queued inputs. Watches slow down when the loop cannot keep up.
const WAITING: usize = 256;

/// Starts all tasks; they end when the receiver is dropped. `relist` requests a fresh list of all
/// requests.
pub(super) fn start(
    connection: &Connection,
    setup: Setup,
    policy: watch::Receiver<InForce>,
    relist: Arc<Notify>,
    clock: &Clock,
    random: &Random,
) -> (mpsc::Receiver<Input>, Lookups) {
    let (inputs, receiver) = mpsc::channel(WAITING);
    let authorities = setup.kubelet_authorities.clone();
    let lookups = Lookups::start(authorities, clock.clone(), inputs.clone());
    setup.start(&policy, random, &inputs);
    let client = connection.watches.clone();
    let (servers, endpoints) = watch::channel(None);
    tokio::spawn(follow_nodes(
        client.clone(),
        clock.clone(),
        random.clone(),
        inputs.clone(),
    ));
    tokio::spawn(follow_requests(
        client.clone(),
        relist,
        random.clone(),
        inputs.clone(),
    ));

    let mut servers = Some(servers);
    for kind in Kind::ALL {
        let selected = selected(&client, kind);
        // API servers are the endpoints of their Service.
        let servers = servers.take_if(|_| kind == Kind::EndpointSlice);
        let (random, inputs) = (random.clone(), inputs.clone());
        tokio::spawn(follow_protected_objects(
            kind, selected, random, inputs, servers,
        ));
    }
    tokio::spawn(read_certificates(
        connection.config.clone(),
        clock.clone(),
        policy,
        endpoints,
        random.clone(),
        inputs,
    ));
    (receiver, lookups)
}

/// The objects of this kind that protect something.
fn selected(client: &Client, kind: Kind) -> Selected {
    let Selection {
        namespace,
        name,
        label,
    } = kind.selection();
    Selected {
        client: client.clone(),
        path: ProtectedObject::url_path(&kind, namespace),
        labels: label.map(|(label, value)| format!("{label}={value}")),
        fields: name.map(|name| format!("metadata.name={name}")),
        metadata_only: kind == Kind::Namespace,
    }
}

/// All objects of this kind.
fn every<K: Resource<DynamicType = ()>>(client: Client) -> Selected {
    Selected {
        client,
        path: K::url_path(&(), None),
        labels: None,
        fields: None,
        metadata_only: false,
    }
}

async fn follow_nodes(client: Client, clock: Clock, random: Random, inputs: Inputs) {
    let read = |object: SlimNode| {
        let node = read_node(object, clock.now().monotonic)?;
        Some((node.name.clone(), node))
    };
    let send = |change: Change<NodeName, Box<Node>>| {
        let input = match change {
            Change::Applied {
                object: mut node,
                is_listed,
            } => {
                if let Some(first_seen) = &mut node.first_seen {
                    first_seen.is_creation = !is_listed;
                }
                Input::Fact(if is_listed {
                    Fact::ListedNode(node)
                } else {
                    Fact::Node(node)
                })
            }
            Change::Deleted(name) => Input::Fact(Fact::NodeGone(name)),
            Change::Synced => Input::Fact(Fact::Synced(Source::Nodes)),
            Change::Failed(why) | Change::NotServed(why) => {
                Input::Fact(Fact::Failed(Source::Nodes, why))
            }
            Change::Undecodable(object) => Input::Undecodable(Source::Nodes, object),
        };
        let inputs = inputs.clone();
        async move { inputs.send(input).await.is_ok() }
    };
    let (nodes, mut relist) = (every::<SlimNode>(client), Relist::default());
    follow(nodes, &mut relist, &random, read, send).await;
}

/// The Node, first seen at this time; `None` if its name is not a valid Node name.
fn read_node(object: SlimNode, at: Timestamp) -> Option<Box<Node>> {
    let resource_version = object.meta().resource_version.clone();
    let mut node = object.into_evidence(at)?;
    node.first_seen = resource_version.and_then(|version| FirstSeen::new(at, &version, true));
    Some(Box::new(node))
}

/// A request, and its certificate if csr-warden has approved it.
type SeenRequest = (Box<(CsrObject, Vec<u8>)>, Option<Box<ServingCertificate>>);

async fn follow_requests(client: Client, list_again: Arc<Notify>, random: Random, inputs: Inputs) {
    let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let read = |object: SlimRequest| {
        let issued = object.issued().map(Box::new);
        let request = Box::new(object.split());
        Some((request.0.uid.clone(), (request, issued)))
    };
    let send = |change: Change<Uid, SeenRequest>| {
        let mut issued: Option<Input> = None;
        let input = match change {
            Change::Applied {
                object: (request, certificate),
                is_listed,
            } => {
                issued = certificate.map(Fact::Issued).map(Input::Fact);
                Input::Request { request, is_listed }
            }
            Change::Deleted(uid) => Input::RequestGone(uid),
            Change::Synced => Input::Fact(Fact::Synced(Source::Requests)),
            Change::Failed(why) | Change::NotServed(why) => {
                Input::Fact(Fact::Failed(Source::Requests, why))
            }
            Change::Undecodable(object) => Input::Undecodable(Source::Requests, object),
        };
        let inputs = inputs.clone();
        async move {
            for input in [Some(input), issued].into_iter().flatten() {
                if inputs.send(input).await.is_err() {
                    return false;
                }
            }
            true
        }
    };
    let requests = Selected {
        fields: Some(ours),
        ..every::<SlimRequest>(client)
    };
    let mut relist = Relist::default();
    loop {
        let requests = requests.clone();
        tokio::select! {
            biased;
            () = follow(requests, &mut relist, &random, read, send) => return,
            // The report of a deletion can be lost by that: its request fails when it is written (404).
            () = list_again.notified() => {}
        }
    }
}
