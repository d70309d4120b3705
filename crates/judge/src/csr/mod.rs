//! What was asked: a CertificateSigningRequest and the certification request inside of it.

mod content;
mod first_seen;
mod from_certificate;
mod key;
mod lenient;
pub mod names;
mod object;
mod packed_pem;
mod parsed;
mod pem;
mod strict;

pub use content::{Content, MAX_REQUEST_BYTES};
pub use first_seen::FirstSeen;
pub use key::Fingerprint;
pub use object::{
    CsrObject, KUBELET_SERVING_SIGNER, NODE_USER_PREFIX, NODES_GROUP, PreservedMetadata, Requestor,
    Settled, Uid, Username,
};
pub use packed_pem::PackedPem;

use std::sync::Arc;

use crate::finding::Findings;

/// A request, read once; it can be judged again and again without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the API server says of it.
    pub object: Arc<CsrObject>,
    /// What its bytes ask for, if they could be read at all.
    pub content: Option<Content>,
    /// What is wrong with its bytes. None of this depends on anything outside of them.
    pub findings: Findings,
    /// The event by which a watch first showed it; `None` for a request that no watch has shown.
    pub first_seen: Option<FirstSeen>,
}

impl Request {
    /// Reads a request. The bytes of one that is not open are not looked at.
    pub fn read(object: impl Into<Arc<CsrObject>>, encoded: &[u8]) -> Request {
        Request::read_as(object.into(), encoded, content::read)
    }

    /// Reads a request whose bytes have waited for that.
    pub fn read_packed(object: impl Into<Arc<CsrObject>>, encoded: &PackedPem) -> Request {
        Request::read_as(object.into(), encoded, content::read_packed)
    }

    fn read_as<E: ?Sized>(
        object: Arc<CsrObject>,
        encoded: &E,
        read: impl FnOnce(&E, &mut Findings) -> Option<Content>,
    ) -> Request {
        let mut findings = Findings::default();
        let content = object
            .is_open()
            .then(|| read(encoded, &mut findings))
            .flatten();
        Request {
            object,
            content,
            findings,
            first_seen: None,
        }
    }

    /// The request with the event by which a watch first showed it.
    pub fn with_first_seen(self, first_seen: Option<FirstSeen>) -> Request {
        Request { first_seen, ..self }
    }

    /// The key of a request of any state, if its bytes can be read. The API server has verified
    /// the signature of whatever it stores.
    pub fn key_of(encoded: &[u8]) -> Option<Fingerprint> {
        content::key_of(encoded)
    }
}
