//! Requests: a CertificateSigningRequest with the certification request (PKCS #10) in it.

mod content;
mod first_event;
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
pub use first_event::FirstSeen;
pub use key::Fingerprint;
pub use object::{
    CsrObject, KUBELET_SERVING_SIGNER, NODE_USER_PREFIX, NODES_GROUP, PreservedMetadata, Requestor,
    Settled, Uid, Username,
};
pub use packed_pem::PackedPem;

use std::sync::Arc;

use crate::finding::Findings;

/// A parsed request. It can be judged any number of times without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The API object.
    pub object: Arc<CsrObject>,
    /// The requested certificate; `None` if the bytes cannot be parsed or the request is not open.
    pub content: Option<Content>,
    /// Findings about the bytes alone.
    pub findings: Findings,
    /// The first watch event with this request; `None` for a request that did not come from a watch.
    pub first_seen: Option<FirstSeen>,
}

impl Request {
    /// Parses a request from PEM. The bytes of a request that is not open are ignored.
    pub fn read(object: impl Into<Arc<CsrObject>>, encoded: &[u8]) -> Request {
        Request::read_as(object.into(), encoded, content::read)
    }

    /// Parses a request from packed PEM, with the same result as [`Request::read`].
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

    /// Sets the first watch event with this request.
    pub fn with_first_seen(self, first_seen: Option<FirstSeen>) -> Request {
        Request { first_seen, ..self }
    }

    /// The key of a request in any state; `None` if its bytes cannot be parsed. The signature is not
    /// verified: the API server did that before it stored the request.
    pub fn key_of(encoded: &[u8]) -> Option<Fingerprint> {
        content::key_of(encoded)
    }
}
