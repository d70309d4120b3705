//! A protected identity: the kind of a protected name, address or network, and its origin.

use crate::csr::Fingerprint;
use crate::csr::names::San;

/// The kind of a protected name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityKind {
    /// An address of Services.
    Service,
    /// An address at which an API server listens, from its EndpointSlice.
    ApiServerEndpoint,
    /// A name or address by which clients reach the API server, from its certificate, a kubeconfig or
    /// `cluster-info`.
    ApiServerIdentity,
}

/// One protected name, address or network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kind.
    pub kind: IdentityKind,
    /// The object or certificate that protects it, for a person.
    pub origin: String,
    /// The certificate that holds it; `None` if it comes from an object.
    pub certificate: Option<ServedCertificate>,
}

/// The certificate that an API server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// The name or address at which it was read; `None` if it was read from a file.
    pub host: Option<San>,
    /// SHA-256 of its DER. A Service or a load balancer serves the certificate of one of the API servers.
    pub sha256: Fingerprint,
}
