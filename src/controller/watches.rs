//! Watches: starts everything that sends inputs to the loop.

use jiff::Timestamp;
use kube::Resource as _;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::{mpsc, watch};

use super::apiserver_certificates::read_certificates;
use super::input::{InForce, Input, Inputs};
use super::judged::Now;
use super::lookups::Asker;
use super::protected_objects::follow_protecting;
use super::reload::Setup;
use crate::cluster::connection::Connection;
use crate::cluster::objects::{SlimNode, SlimRequest};
use crate::cluster::protected::{CLUSTER_INFO, KUBERNETES_SERVICE, Kind};
use crate::cluster::watch::{Change, follow};
use judge::csr::{FirstSeen, KUBELET_SERVING_SIGNER};
use judge::evidence::Node;

/// Inputs that may wait for the controller: it keeps up, or the watches slow down.
const WAITING: usize = 256;

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
    tokio::spawn(follow_protecting(
        Api::namespaced_with(client.clone(), namespace, &Kind::Service),
        named(name),
        Kind::Service,
        inputs.clone(),
        None,
    ));
    tokio::spawn(follow_protecting(
        Api::namespaced_with(client.clone(), namespace, &Kind::EndpointSlice),
        watcher::Config::default().labels(&format!("kubernetes.io/service-name={name}")),
        Kind::EndpointSlice,
        inputs.clone(),
        Some(servers),
    ));
    tokio::spawn(follow_protecting(
        Api::all_with(client.clone(), &Kind::ServiceCidr),
        watcher::Config::default(),
        Kind::ServiceCidr,
        inputs.clone(),
        None,
    ));
    let (namespace, name) = CLUSTER_INFO;
    tokio::spawn(follow_protecting(
        Api::namespaced_with(client, namespace, &Kind::ConfigMap),
        named(name),
        Kind::ConfigMap,
        inputs.clone(),
        None,
    ));
    tokio::spawn(read_certificates(
        connection.config.clone(),
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
            let node = |object| read_node(object, Now::read().steady);
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

/// The Node as it is when the watch shows it; `None` if its name is none that a Node can have.
fn read_node(object: SlimNode, at: Timestamp) -> Option<Box<Node>> {
    let resource_version = object.meta().resource_version.clone();
    let mut node = object.into_evidence(at)?;
    node.first_seen = resource_version.and_then(|version| FirstSeen::new(at, &version, true));
    Some(Box::new(node))
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
