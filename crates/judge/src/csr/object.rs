//! What the API server says of a request: the facts outside of the encoded bytes.

use std::sync::Arc;

use jiff::Timestamp;

use super::names::NodeName;

/// The `metadata.uid` of a request.
pub type Uid = Arc<str>;

/// The user name of a requestor, `spec.username`.
pub type Username = Arc<str>;

/// The signer whose requests are judged.
pub const KUBELET_SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// The user name of a node is this and the Node's name.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// The group that every node is in, and the organization in its certificates.
pub const NODES_GROUP: &str = "system:nodes";

/// Why nothing more can happen to a request.
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

/// Who asks, as the API server recorded it at creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requestor {
    /// `spec.username`.
    pub username: Username,
    /// `spec.uid`; empty if there is none.
    pub uid: String,
    /// `spec.groups`.
    pub groups: Arc<[String]>,
    /// `spec.extra` of `authentication.kubernetes.io/credential-id`.
    pub credential_ids: Vec<String>,
}

impl Requestor {
    /// What follows `system:node:`, if the user name begins so.
    pub fn node_part(&self) -> Option<&str> {
        self.username.strip_prefix(NODE_USER_PREFIX)
    }

    /// The Node that asks, if its name is a name that a Node can have.
    pub fn node(&self) -> Option<NodeName> {
        self.node_part().and_then(NodeName::parse)
    }
}

/// A CertificateSigningRequest, without its encoded bytes. Thousands can be known at a time, most of
/// them alike: what they share can be one text.
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
    /// Whether `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// `spec.signerName`.
    pub signer: Arc<str>,
    /// Who asks.
    pub requestor: Requestor,
    /// `spec.usages`.
    pub usages: Arc<[String]>,
    /// `spec.expirationSeconds`.
    pub expiration_seconds: Option<i32>,
    /// Whether anything more can happen to it.
    pub settled: Option<Settled>,
    /// What an update of the object must not lose.
    pub preserved: PreservedMetadata,
}

/// What is in the object besides what is judged. The API server takes the metadata of an update
/// of `/approval` as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreservedMetadata {
    /// `metadata.generateName`.
    pub generate_name: Arc<str>,
    /// Whether there is more than a kubelet's request has: labels, annotations, owners,
    /// finalizers or conditions. It is read again when it is needed.
    pub has_more: bool,
}

impl CsrObject {
    /// Whether the request is for the signer of kubelets' serving certificates and still open.
    pub fn is_open(&self) -> bool {
        *self.signer == *KUBELET_SERVING_SIGNER && self.settled.is_none() && !self.terminating
    }
}

#[cfg(test)]
impl CsrObject {
    /// A request of which nothing matters.
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
    fn open_is_what_is_ours_and_undecided() {
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
