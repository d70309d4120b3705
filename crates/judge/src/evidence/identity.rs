//! A protected identity: the kind of a protected name, address or network, and its origin.

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
}
