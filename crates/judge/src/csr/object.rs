//! The API object of a request, without its encoded bytes.

use std::sync::Arc;

use jiff::Timestamp;

use super::names::NodeName;

/// The `metadata.uid` of a request.
pub type Uid = Arc<str>;

/// The user name of a requestor, `spec.username`.
pub type Username = Arc<str>;

/// The signer whose requests are judged.
pub const KUBELET_SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// The prefix of a node's user name. The Node's name follows.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// The group of all nodes, and the organization in their certificates.
pub const NODES_GROUP: &str = "system:nodes";

/// The state of a request that needs no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has the condition Approved.
    Approved,
    /// It has the condition Denied.
    Denied,
    /// It has the condition Failed.
    Failed,
    /// It has a certificate.
    Issued,
}

/// The requestor, as the API server recorded it at creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requestor {
    /// `spec.username`.
    pub username: Username,
    /// `spec.uid`; empty if missing.
    pub uid: String,
    /// `spec.groups`.
    pub groups: Arc<[String]>,
    /// `spec.extra["authentication.kubernetes.io/credential-id"]`.
    pub credential_ids: Vec<String>,
}

impl Requestor {
    /// The user name without its prefix `system:node:`; `None` for any other user name.
    pub fn node_part(&self) -> Option<&str> {
        self.username.strip_prefix(NODE_USER_PREFIX)
    }

    /// The name of the requesting Node; `None` if it is not a valid Node name.
    pub fn node(&self) -> Option<NodeName> {
        self.node_part().and_then(NodeName::parse)
    }
}

/// A CertificateSigningRequest, without `spec.request`. Thousands may exist at a time, so fields that
/// most of them have in common are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrObject {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// True if `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// `spec.signerName`.
    pub signer: Arc<str>,
    /// The requestor.
    pub requestor: Requestor,
    /// `spec.usages`.
    pub usages: Arc<[String]>,
    /// `spec.expirationSeconds`.
    pub expiration_seconds: Option<i32>,
    /// The state of a request that needs no decision; `None` while it is pending.
    pub settled: Option<Settled>,
    /// Metadata that an update of the object must preserve.
    pub preserved: PreservedMetadata,
}

/// Metadata that is not judged. The API server stores the metadata of an update of `/approval` as it
/// is sent: a missing field would be lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreservedMetadata {
    /// `metadata.generateName`.
    pub generate_name: Arc<str>,
    /// True if there is more than a kubelet's request has: labels, annotations, owners, finalizers
    /// or conditions. Then the object is read again before it is written.
    pub has_more: bool,
}

impl CsrObject {
    /// Returns true if the request is for the signer `kubernetes.io/kubelet-serving` and pending.
    pub fn is_open(&self) -> bool {
        *self.signer == *KUBELET_SERVING_SIGNER && self.settled.is_none() && !self.terminating
    }

    /// Returns true if an approver, or a person, has approved the request.
    pub fn is_approved(&self) -> bool {
        matches!(self.settled, Some(Settled::Approved | Settled::Issued))
    }
}

#[cfg(test)]
impl CsrObject {
    /// A request with empty fields.
    pub(super) fn blank() -> CsrObject {
        CsrObject {
            name: "csr-x7k2p".into(),
            uid: "".into(),
            resource_version: String::new(),
            created: Timestamp::UNIX_EPOCH,
            terminating: false,
            signer: "".into(),
            requestor: Requestor::default(),
            usages: Arc::default(),
            expiration_seconds: None,
            settled: None,
            preserved: PreservedMetadata::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_request_for_the_signer_is_open() {
        let open = CsrObject {
            signer: KUBELET_SERVING_SIGNER.into(),
            ..CsrObject::blank()
        };
        assert!(open.is_open());
        for closed in [
            CsrObject {
                signer: "kubernetes.io/kube-apiserver-client".into(),
                ..open.clone()
            },
            CsrObject {
                settled: Some(Settled::Approved),
                ..open.clone()
            },
            CsrObject {
                terminating: true,
                ..open
            },
        ] {
            assert!(!closed.is_open(), "{closed:?}");
        }
    }
}
