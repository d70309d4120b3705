//! Protected identities: the kind of a protected name, address or network, and its origin.

/// The kind of a protected name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityKind {
    /// An address of Services.
    Service,
    /// An address at which an API server listens, by its EndpointSlice.
    ApiServerEndpoint,
    /// A name or address that clients know the API server by: its certificate, kubeconfig or
    /// `cluster-info`.
    ApiServerIdentity,
}

/// One protected name, address or network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub kind: IdentityKind,
    /// Who says so, for a person: an object or a certificate.
    pub origin: String,
}
