//! Facts from Nodes, the kubelet ConfigMap, CertificateSigningRequests and Leases.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease as FullLease;
use k8s_openapi::api::core::v1::{ConfigMap, Node as FullNode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::ListParams;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reader::{Reader, Right, SlimMeta, path};
use crate::doctor::distributions::{Sign, signs};
use crate::doctor::facts::{ApprovedBy, Known, Lease, Node, Request, State, Workload};
use judge::csr::names::NodeName;
use judge::csr::{KUBELET_SERVING_SIGNER, NODE_USER_PREFIX};

/// Prefix of the message in csr-warden's own conditions.
const OUR_MESSAGE: &str = "csr-warden, policy ";

const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimNode {
    metadata: SlimMeta,
    spec: Option<NodeSpec>,
    status: Option<NodeStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeStatus {
    addresses: Option<Vec<Address>>,
    daemon_endpoints: Option<DaemonEndpoints>,
    node_info: Option<NodeInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    os_image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DaemonEndpoints {
    kubelet_endpoint: Option<DaemonEndpoint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DaemonEndpoint {
    #[serde(rename = "Port")]
    port: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimConfigMap {
    data: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimRequest {
    metadata: RequestMeta,
    spec: RequestSpec,
    status: Option<RequestStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestMeta {
    name: Option<String>,
    creation_timestamp: Option<Time>,
    managed_fields: Option<Vec<Managed>>,
}

/// An entry of `managedFields`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Managed {
    manager: Option<String>,
    subresource: Option<String>,
    time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestSpec {
    username: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestStatus {
    certificate: Option<IgnoredAny>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    r#type: String,
    reason: Option<String>,
    message: Option<String>,
    last_update_time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimLease {
    spec: Option<LeaseSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i32>,
    renew_time: Option<MicroTime>,
}

pub(super) async fn nodes(reader: &Reader) -> Known<Vec<Node>> {
    let right = Right::new("list", "nodes");
    let path = path::<FullNode>(None);
    reader.list(right, &path, ListParams::default(), node).await
}

fn node(node: SlimNode) -> Option<Node> {
    let status = node.status.unwrap_or_default();
    let internal = |kind: &str| kind == "InternalIP";
    let address = status
        .addresses
        .iter()
        .flatten()
        .find_map(|entry| internal(&entry.r#type).then(|| entry.address.parse().ok())?);
    let port = status
        .daemon_endpoints
        .and_then(|endpoints| endpoints.kubelet_endpoint)
        .and_then(|endpoint| u16::try_from(endpoint.port).ok())
        .filter(|&port| port != 0);
    let labels = node.metadata.labels.unwrap_or_default();
    let sign_labels = signs().filter_map(|sign| match sign {
        Sign::EveryNode(label) => labels.contains_key(label).then_some(label),
        Sign::Version(_)
        | Sign::ServerHost(_)
        | Sign::ApiGroup(_)
        | Sign::Workload(..)
        | Sign::ConfigMap(_)
        | Sign::ControlPlaneOs(_)
        | Sign::ControlPlaneProvider(_) => None,
    });
    Some(Node {
        name: node.metadata.name?,
        address,
        port,
        control_plane: labels.contains_key(CONTROL_PLANE_LABEL),
        sign_labels: sign_labels.collect(),
        os_image: status.node_info.and_then(|info| info.os_image),
        provider_id: node.spec.and_then(|spec| spec.provider_id),
    })
}

/// Reads the configuration that kubeadm keeps for nodes that join.
pub(super) async fn kubelet_config(reader: &Reader) -> Known<Option<String>> {
    let right = Right::new("get", "configmaps").in_namespace("kube-system");
    let path = path::<ConfigMap>(Some("kube-system"));
    let found = reader.get(right, &path, "kubelet-config").await?;
    Ok(found.map(|map: SlimConfigMap| {
        let mut data = map.data.unwrap_or_default();
        data.remove("kubelet").unwrap_or_default()
    }))
}

pub(super) async fn requests(reader: &Reader) -> Known<Vec<Request>> {
    let right = Right::new("list", "certificatesigningrequests.certificates.k8s.io");
    let path = path::<CertificateSigningRequest>(None);
    let params = ListParams::default().fields(&format!("spec.signerName={KUBELET_SERVING_SIGNER}"));
    reader.list(right, &path, params, request).await
}

fn request(request: SlimRequest) -> Option<Request> {
    let meta = request.metadata;
    let created = meta
        .creation_timestamp
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let username = request.spec.username.unwrap_or_default();
    let node = username.strip_prefix(NODE_USER_PREFIX);
    let managed = meta.managed_fields.unwrap_or_default();
    let status = request.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let find = |name: &str| conditions.iter().find(|condition| condition.r#type == name);
    let by = |message: &str, reason: &str| {
        if message.starts_with(OUR_MESSAGE) {
            ApprovedBy::Warden
        } else {
            ApprovedBy::Other(writer(&managed).unwrap_or(reason).to_owned())
        }
    };
    let state = if find("Denied").is_some() {
        State::Denied
    } else if let Some(failed) = find("Failed") {
        let why = failed.message.clone().or(failed.reason.clone());
        State::Failed {
            why: why.unwrap_or_default(),
        }
    } else if let Some(approved) = find("Approved") {
        let message = approved.message.as_deref().unwrap_or_default();
        let by = by(message, approved.reason.as_deref().unwrap_or_default());
        let since = approved.last_update_time.as_ref().map(|time| time.0);
        match status.certificate {
            Some(_) => State::Issued { by },
            None => State::Approved {
                since: since.unwrap_or(created),
                by,
            },
        }
    } else {
        State::Pending
    };
    Some(Request {
        name: meta.name?,
        of_node: node.and_then(NodeName::parse).is_some(),
        created,
        state,
    })
}

/// The field manager of the last write to `/approval`.
fn writer(managed: &[Managed]) -> Option<&str> {
    let approvals = managed
        .iter()
        .filter(|entry| entry.subresource.as_deref() == Some("approval"));
    approvals
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?
        .manager
        .as_deref()
        .filter(|manager| !manager.is_empty())
}

pub(super) async fn lease(reader: &Reader, namespace: &str, name: &str) -> Known<Option<Lease>> {
    let right = Right::new("get", "leases.coordination.k8s.io").in_namespace(namespace);
    let path = path::<FullLease>(Some(namespace));
    let found = reader.get(right, &path, name).await?;
    Ok(found.map(|lease: SlimLease| {
        let spec = lease.spec.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.unwrap_or(15);
        Lease {
            namespace: namespace.to_owned(),
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            duration: SignedDuration::from_secs(seconds.into()),
        }
    }))
}

/// Reads csr-warden's Lease, in the namespace of its Deployment or, without one, in `kube-system`.
pub(super) async fn warden_lease(
    reader: &Reader,
    workloads: &Known<Vec<Workload>>,
) -> Known<Option<Lease>> {
    let ours = Workload::of_csr_warden(workloads);
    let namespace = ours.map_or("kube-system", |workload| workload.namespace.as_str());
    lease(
        reader,
        namespace,
        ours.map_or("csr-warden", Workload::lease_name),
    )
    .await
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: serde_json::Value, manager: &str) -> State {
        let object = json!({
            "metadata": {
                "name": "csr-1",
                "managedFields": [
                    {"manager": "kubelet", "operation": "Update"},
                    {"manager": manager, "operation": "Update", "subresource": "approval"},
                ],
            },
            "spec": {"request": "", "signerName": KUBELET_SERVING_SIGNER},
            "status": status,
        });
        request(serde_json::from_value(object).unwrap())
            .unwrap()
            .state
    }

    #[test]
    fn the_approver_is_found_by_message_or_field_manager() {
        let approved = |message: &str| {
            json!({
                "certificate": "AAAA",
                "conditions": [{"type": "Approved", "status": "True", "message": message}],
            })
        };
        assert_eq!(
            read(approved("csr-warden, policy default (abc): proven"), "x"),
            State::Issued {
                by: ApprovedBy::Warden
            }
        );
        assert_eq!(
            read(approved("This CSR was approved by kubectl."), "kubectl"),
            State::Issued {
                by: ApprovedBy::Other("kubectl".into())
            }
        );
        assert_eq!(read(json!({}), "x"), State::Pending);
    }
}
