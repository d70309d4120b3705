//! CertificateSigningRequests and Nodes, decoded without the fields that are not used. Decoding a
//! cluster's Nodes takes a tenth of the memory this way.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest as FullRequest;
use k8s_openapi::api::core::v1::Node as FullNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::value::StrDeserializer;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::certificate_fields::serving_certificate_of_pem;
use super::watch::Watched;
use judge::csr::names::NodeName;
use judge::csr::{
    CsrObject, MAX_REQUEST_BYTES, NODE_USER_PREFIX, PreservedMetadata, Request, Requestor, Settled,
};
use judge::evidence::{self, Fact, ServingCertificate};
use judge::policy::MOST_NAMES;
use judge::{APPROVED_REASON, MESSAGE_PREFIX};

const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";
const UNINITIALIZED_TAINT: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// The used part of `metadata`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMeta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default)]
    creation_timestamp: Option<Time>,
    #[serde(default)]
    deletion_timestamp: Option<Time>,
    #[serde(default)]
    generate_name: Option<String>,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    annotations: Option<IgnoredAny>,
    #[serde(default)]
    owner_references: Option<IgnoredAny>,
    #[serde(default)]
    finalizers: Option<IgnoredAny>,
}

/// The label of control-plane nodes. All other labels are dropped.
#[derive(Deserialize)]
struct Labels {
    #[serde(default, rename = "node-role.kubernetes.io/control-plane")]
    control_plane: Option<IgnoredAny>,
}

/// Marks an object that has labels, annotations, owners or finalizers which are not kept.
const HAS_MORE: &str = "csr-warden/has-more";

pub(super) fn slim_meta<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ObjectMeta, D::Error> {
    let slim = SlimMeta::deserialize(deserializer)?;
    let more = slim.annotations.is_some()
        || slim.owner_references.is_some()
        || slim.finalizers.is_some()
        || slim.labels.is_some();
    let control_plane = slim
        .labels
        .is_some_and(|labels| labels.control_plane.is_some());
    let mark = |key: &str, set: bool| set.then(|| (key.to_owned(), String::new()));
    let marks = [
        mark(CONTROL_PLANE_LABEL, control_plane),
        mark(HAS_MORE, more),
    ];
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        generate_name: slim.generate_name,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp,
        deletion_timestamp: slim.deletion_timestamp,
        labels: Some(marks.into_iter().flatten().collect()),
        ..ObjectMeta::default()
    })
}

fn has(meta: &ObjectMeta, label: &str) -> bool {
    meta.labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(label))
}

/// A CertificateSigningRequest.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = FullRequest)]
pub struct SlimRequest {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    spec: RequestSpec,
    #[serde(default)]
    status: RequestStatus,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestSpec {
    #[serde(deserialize_with = "head_of_request")]
    request: Vec<u8>,
    #[serde(default)]
    signer_name: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: RequestExtra,
    #[serde(default)]
    usages: Vec<String>,
    #[serde(default)]
    expiration_seconds: Option<i32>,
}

/// Length of base64 for more than [`MAX_REQUEST_BYTES`] bytes; a multiple of four.
const MAX_ENCODED: usize = (MAX_REQUEST_BYTES / 3 + 2) * 4;

/// Decodes `spec.request`, and not much more of it than a kubelet's request may have.
fn head_of_request<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Head;

    impl Visitor<'_> for Head {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            let head = text.get(..MAX_ENCODED).unwrap_or(text);
            ByteString::deserialize(StrDeserializer::new(head)).map(|decoded| decoded.0)
        }
    }

    deserializer.deserialize_str(Head)
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RequestExtra {
    #[serde(default, rename = "authentication.kubernetes.io/credential-id")]
    credential_id: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RequestStatus {
    #[serde(default)]
    conditions: Vec<RequestCondition>,
    #[serde(default)]
    certificate: Option<ByteString>,
}

#[derive(Clone, Debug, Deserialize)]
struct StatusCondition {
    #[serde(rename = "type")]
    condition_type: String,
    #[serde(default)]
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
struct RequestCondition {
    #[serde(rename = "type")]
    condition_type: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl Watched for SlimRequest {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl SlimRequest {
    /// The certificate that was issued after csr-warden's approval; `None` for any other request. Only
    /// an approver can write a condition.
    pub fn issued(&self) -> Option<ServingCertificate> {
        let is_ours = |condition: &RequestCondition| {
            condition.condition_type == "Approved"
                && condition.reason == APPROVED_REASON
                && condition.message.starts_with(MESSAGE_PREFIX)
        };
        let certificate = self.status.certificate.as_ref()?;
        if !self.status.conditions.iter().any(is_ours) {
            return None;
        }
        let issued = serving_certificate_of_pem(&certificate.0)?;
        let requestor = self.spec.username.strip_prefix(NODE_USER_PREFIX);
        (requestor == Some(issued.node.as_str())).then_some(issued)
    }

    /// Splits off `spec.request`. If it exceeds [`MAX_REQUEST_BYTES`], one byte more than that is kept.
    pub fn split(self) -> (CsrObject, Vec<u8>) {
        let settled = self.settled();
        let preserved = PreservedMetadata {
            generate_name: self
                .metadata
                .generate_name
                .as_deref()
                .unwrap_or_default()
                .into(),
            has_more: has(&self.metadata, HAS_MORE) || !self.status.conditions.is_empty(),
        };
        let meta = self.metadata;
        let spec = self.spec;
        let mut credential_ids = spec.extra.credential_id;
        credential_ids.shrink_to_fit();
        let object = CsrObject {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default().into(),
            resource_version: meta.resource_version.unwrap_or_default(),
            created: created(&meta.creation_timestamp),
            terminating: meta.deletion_timestamp.is_some(),
            signer: spec.signer_name.into(),
            requestor: Requestor {
                username: spec.username.into(),
                uid: spec.uid,
                groups: spec.groups.into(),
                credential_ids,
            },
            usages: spec.usages.into(),
            expiration_seconds: spec.expiration_seconds,
            settled,
            preserved,
        };
        // One byte above the limit proves that a request is too large, and many requests may wait.
        let mut encoded = spec.request;
        encoded.truncate(MAX_REQUEST_BYTES + 1);
        encoded.shrink_to_fit();
        (object, encoded)
    }

    fn settled(&self) -> Option<Settled> {
        let has = |name: &str| {
            let mut conditions = self.status.conditions.iter();
            conditions.any(|condition| condition.condition_type == name)
        };
        if has("Denied") {
            Some(Settled::Denied)
        } else if has("Failed") {
            Some(Settled::Failed)
        } else if self.status.certificate.is_some() {
            Some(Settled::Issued)
        } else if has("Approved") {
            Some(Settled::Approved)
        } else {
            None
        }
    }
}

/// A Node.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = FullNode)]
pub struct SlimNode {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeSpec {
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(default, rename = "providerID")]
    provider_id: Option<String>,
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Taint {
    key: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    conditions: Vec<StatusCondition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    address_type: String,
    address: String,
}

impl Watched for SlimNode {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl SlimNode {
    /// Converts the Node to evidence; `None` if its name is not a valid Node name. `seen` becomes
    /// the time since which its addresses are known.
    pub fn into_evidence(self, seen: Timestamp) -> Option<evidence::Node> {
        let control_plane = has(&self.metadata, CONTROL_PLANE_LABEL);
        let meta = self.metadata;
        let lost = |condition: &StatusCondition| {
            condition.condition_type == "Ready" && condition.status == "Unknown"
        };
        // In the Node's own order: the first ones count. A kubelet can write any number.
        let mut known = BTreeSet::new();
        let mut addresses: Vec<_> = self
            .status
            .addresses
            .iter()
            .take(MOST_NAMES)
            .filter_map(|entry| evidence::NodeAddress::parse(&entry.address_type, &entry.address))
            .filter(|address| known.insert(address.clone()))
            .collect();
        addresses.shrink_to_fit();
        let networks = self.spec.pod_cidrs.iter();
        let mut pod_cidrs: Vec<_> = networks.filter_map(|text| text.parse().ok()).collect();
        pod_cidrs.shrink_to_fit();
        Some(evidence::Node {
            name: NodeName::parse(meta.name.as_deref()?)?,
            uid: meta.uid.unwrap_or_default().into(),
            created: created(&meta.creation_timestamp),
            first_seen: None,
            terminating: meta.deletion_timestamp.is_some(),
            lost: self.status.conditions.iter().any(lost),
            control_plane,
            uninitialized: self
                .spec
                .taints
                .iter()
                .any(|taint| taint.key == UNINITIALIZED_TAINT),
            addresses,
            addresses_since: seen,
            pod_cidrs,
            provider_id: self
                .spec
                .provider_id
                .filter(|id| !id.is_empty())
                .map(Into::into),
        })
    }
}

/// Fact from an approved request of a node: its key is in use by that node. `None` for other requests.
pub fn key_in_use(object: &CsrObject, encoded: &[u8]) -> Option<Fact> {
    if !object.is_approved() {
        return None;
    }
    let node = object.requestor.node()?;
    Some(Fact::Key(Request::key_of(encoded)?, node))
}

/// The creation time. An object without one, such as from a file, counts as created in 1970.
fn created(time: &Option<Time>) -> Timestamp {
    time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_oversized_request_is_truncated() {
        let bytes = |length: usize| {
            let request: SlimRequest = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "csr-x7k2p"},
                "spec": {
                    "request": ByteString(vec![b'x'; length]),
                    "signerName": "kubernetes.io/kubelet-serving",
                },
            }))
            .unwrap();
            request.split().1.len()
        };
        assert_eq!(bytes(MAX_REQUEST_BYTES), MAX_REQUEST_BYTES);
        assert_eq!(bytes(1_000_000), MAX_REQUEST_BYTES + 1);
    }
}
