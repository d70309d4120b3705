//! What the administrator wants: typed, versioned, with the default compiled in.

mod fields;
mod load;
mod sources;

pub use load::{PolicyError, SHIPPED, default_policy, parse, shipped};
pub use sources::{DnsPolicy, FieldPath, MachineKind, ServingCertificatePolicy, SourcesPolicy};

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_version::API_VERSION;

/// The `kind` of a policy.
pub const KIND: &str = "Policy";

/// A policy file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Always `csr-warden.dev/v1beta1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// Always `Policy`.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// What it says. It must be there, if only as `{}`: half a file must not be the default policy.
    pub spec: Spec,
    /// The first 12 hexadecimal digits of the SHA-256 of the file; set when it is read.
    #[serde(skip)]
    pub digest: String,
}

/// The metadata of a policy.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name under which logs, metrics and conditions show the policy.
    pub name: String,
}

/// What a policy says. A section that is left out is as in the default policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// What is written.
    pub enforcement: Enforcement,
    /// Who may ask.
    pub requestor: RequestorPolicy,
    /// What a request may look like.
    pub request: RequestPolicy,
    /// Which names may be asked for.
    pub names: NamePolicy,
    /// Where evidence comes from that no kubelet can write.
    pub sources: SourcesPolicy,
    /// What counts as proof.
    pub proof: ProofPolicy,
    /// What no node may have.
    pub protected: ProtectedPolicy,
}

/// What is written to the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Enforcement {
    /// Approvals and denials.
    #[default]
    ApproveAndDeny,
    /// Approvals; what would be denied stays pending.
    ApproveOnly,
    /// Nothing; verdicts are only logged and counted.
    DryRun,
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Enforcement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ApproveAndDeny" => Ok(Enforcement::ApproveAndDeny),
            "ApproveOnly" => Ok(Enforcement::ApproveOnly),
            "DryRun" => Ok(Enforcement::DryRun),
            other => Err(format!(
                "expected ApproveAndDeny, ApproveOnly or DryRun, found `{other}`"
            )),
        }
    }
}

/// Whether something is asked for at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Requirement {
    /// It may be missing.
    Optional,
    /// It must be there.
    Required,
}

/// What is done with a shape that is not wrong in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Reaction {
    /// It goes on.
    Allow,
    /// It waits.
    Wait,
    /// It is denied.
    Deny,
    /// It is left alone.
    Ignore,
}

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestorPolicy {
    /// Requests of anyone but a node: `Ignore` or `Deny`.
    pub others: Reaction,
    /// Whether the requestor must have come with a client certificate
    /// (`authentication.kubernetes.io/credential-id`).
    pub credential_id: Requirement,
    /// A node that has a UID, as only other authenticators give it: `Allow` or `Deny`.
    pub uid: Reaction,
}

impl Default for RequestorPolicy {
    fn default() -> Self {
        RequestorPolicy {
            others: Reaction::Ignore,
            credential_id: Requirement::Optional,
            uid: Reaction::Allow,
        }
    }
}

/// What a request may look like.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestPolicy {
    /// The longest life that a request may ask for.
    #[serde(deserialize_with = "fields::duration")]
    #[schemars(with = "String")]
    pub max_expiration: SignedDuration,
    /// How old a request may be. The kubelet waits for 15 minutes.
    #[serde(deserialize_with = "fields::duration")]
    #[schemars(with = "String")]
    pub max_age: SignedDuration,
}

impl Default for RequestPolicy {
    fn default() -> Self {
        RequestPolicy {
            max_expiration: SignedDuration::from_hours(365 * 24),
            max_age: SignedDuration::from_mins(15),
        }
    }
}

/// Which names may be asked for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NamePolicy {
    /// The most names in one request.
    pub max: usize,
    /// A request for DNS names without any IP address: `Allow` or `Wait`.
    pub dns_only: Reaction,
    /// A request for some of the Node's names: `Allow` or `Wait`.
    pub incomplete: Reaction,
    /// If any are given, DNS names must lie under one of these domains or be the Node's name.
    pub dns_suffixes: Vec<String>,
    /// If any are given, IP addresses must lie in one of these networks.
    #[serde(deserialize_with = "fields::networks")]
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
}

impl Default for NamePolicy {
    fn default() -> Self {
        NamePolicy {
            max: 64,
            dns_only: Reaction::Wait,
            incomplete: Reaction::Allow,
            dns_suffixes: Vec::new(),
            networks: Vec::new(),
        }
    }
}

/// What counts as proof that a name is the node's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProofPolicy {
    /// How long the Node's addresses must have been what they are.
    #[serde(deserialize_with = "fields::duration")]
    #[schemars(with = "String")]
    pub addresses_stable_for: SignedDuration,
    /// Who must vouch for an IP address, beside the Node.
    pub ip_addresses: Corroboration,
    /// Who must vouch for the name that the Node has in the cluster.
    pub node_name: Corroboration,
    /// Who must vouch for any other DNS name.
    pub dns_names: Corroboration,
}

impl Default for ProofPolicy {
    fn default() -> Self {
        ProofPolicy {
            addresses_stable_for: SignedDuration::ZERO,
            ip_addresses: Corroboration::default(),
            node_name: Corroboration::default(),
            dns_names: Corroboration::default(),
        }
    }
}

/// Sources that must vouch for a name. What any of them contradicts is denied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Corroboration {
    /// Each of these.
    pub all_of: Vec<IndependentSource>,
    /// At least one of these, if there are any.
    pub any_of: Vec<IndependentSource>,
}

/// A source of evidence that a kubelet cannot write.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
pub enum IndependentSource {
    /// The administrator's own list of nodes.
    Inventory,
    /// What made the node, such as a Cluster API Machine.
    Machine,
    /// The addresses that DNS has for the node's name.
    #[serde(rename = "DNS")]
    Dns,
    /// The certificate that the kubelet shows now, for those that ask again.
    ServingCertificate,
}

impl IndependentSource {
    /// Every one.
    pub const ALL: [IndependentSource; 4] = [
        IndependentSource::Inventory,
        IndependentSource::Machine,
        IndependentSource::Dns,
        IndependentSource::ServingCertificate,
    ];
}

/// As policies spell it.
impl fmt::Display for IndependentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IndependentSource::Inventory => "Inventory",
            IndependentSource::Machine => "Machine",
            IndependentSource::Dns => "DNS",
            IndependentSource::ServingCertificate => "ServingCertificate",
        })
    }
}

/// What no node may have, beside all that is discovered.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProtectedPolicy {
    /// Domains of the cluster's Services, beside those in the API servers' certificates.
    pub cluster_domains: Vec<String>,
    /// Names, and all names under them.
    pub names: Vec<String>,
    /// Networks.
    #[serde(deserialize_with = "fields::networks")]
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
    /// Whether the certificate of every API server endpoint must have been read.
    pub endpoint_certificates: Requirement,
    /// Names and addresses of API servers that nodes may have nevertheless.
    pub allowed: Vec<AllowedIdentities>,
}

impl Default for ProtectedPolicy {
    fn default() -> Self {
        ProtectedPolicy {
            cluster_domains: vec!["cluster.local".into()],
            names: Vec::new(),
            networks: Vec::new(),
            endpoint_certificates: Requirement::Required,
            allowed: Vec::new(),
        }
    }
}

/// Names and addresses of API servers that one node may have.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedIdentities {
    /// The Node's name.
    pub node: String,
    /// DNS names and IP addresses.
    pub sans: Vec<String>,
}
