//! The administrator's policy: typed and versioned, with the default compiled in.

mod fields;
mod groups;
mod label_selector;
mod load;
mod protected;
mod shared;
mod sources;
mod validation;
mod warnings;

pub(crate) use fields::networks;
pub(crate) use groups::{AUTHENTICATED_GROUP, can_be_allowed};
pub use label_selector::LabelSelector;
pub use load::{SHIPPED, default_policy, parse, shipped};
pub use protected::{AllowedIdentities, AllowedNodes, ProtectedPolicy};
pub use shared::SharedSan;
pub use sources::{DnsPolicy, FieldPath, MachineKind, ServingCertificatePolicy, SourcesPolicy};
pub(crate) use validation::networks as validate_networks;

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_version::API_VERSION;

/// The `kind` of a policy.
pub const KIND: &str = "Policy";

/// The largest value of `names.max`. No more addresses of a Node are kept.
pub const MOST_NAMES: usize = 256;

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
    /// The metadata.
    pub metadata: Metadata,
    /// The rules. Required, if only as `{}`: a truncated file must not become the default policy.
    pub spec: Spec,
    /// The first 12 hexadecimal digits of the SHA-256 of the file; set on load.
    #[serde(skip)]
    pub digest: String,
}

/// The metadata of a policy.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name of the policy in logs, metrics and conditions.
    pub name: String,
}

/// The rules of a policy. A missing section is that of the default policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// The conditions that are written.
    pub enforcement: Enforcement,
    /// Limits for requestors.
    pub requestor: RequestorPolicy,
    /// Limits for requests.
    pub request: RequestPolicy,
    /// Limits for names.
    pub names: NamePolicy,
    /// Sources of evidence that no kubelet can write.
    pub sources: SourcesPolicy,
    /// The proof that is required for names.
    pub proof: ProofPolicy,
    /// Names and addresses that no node may have.
    pub protected: ProtectedPolicy,
}

/// The conditions that are written to the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Enforcement {
    /// Approvals and denials.
    #[default]
    ApproveAndDeny,
    /// Approvals only. A request that would be denied stays pending.
    ApproveOnly,
    /// None. Verdicts are only logged and counted.
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

/// An optional or required condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Requirement {
    /// May be missing.
    Optional,
    /// Must be present.
    Required,
}

/// The reaction to a requestor that csr-warden does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum IgnoreOrDeny {
    /// Leave the request to others.
    Ignore,
    /// Deny.
    Deny,
}

/// The reaction to what no kubelet with a client certificate sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AllowOrDeny {
    /// Continue with the other rules.
    Allow,
    /// Deny.
    Deny,
}

/// The reaction to names that are unusual, but not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AllowOrWait {
    /// Continue with the other rules.
    Allow,
    /// Wait.
    Wait,
}

/// Limits for requestors.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestorPolicy {
    /// The reaction to a requestor that is not a node.
    pub others: IgnoreOrDeny,
    /// Authentication with a client certificate (`authentication.kubernetes.io/credential-id`).
    pub credential_id: Requirement,
    /// The reaction to a node with a UID, which client certificates do not set.
    pub uid: AllowOrDeny,
    /// Groups that a node may be in besides `system:nodes` and `system:authenticated`.
    pub groups: Vec<String>,
}

impl Default for RequestorPolicy {
    fn default() -> Self {
        RequestorPolicy {
            others: IgnoreOrDeny::Ignore,
            credential_id: Requirement::Optional,
            uid: AllowOrDeny::Allow,
            groups: Vec::new(),
        }
    }
}

/// Limits for requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestPolicy {
    /// Maximum requested lifetime of a certificate.
    #[serde(deserialize_with = "fields::duration")]
    #[schemars(with = "String")]
    pub max_expiration: SignedDuration,
    /// Maximum age of a request. A kubelet waits for 15 minutes.
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

/// Limits for names.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NamePolicy {
    /// Maximum number of names in one request.
    pub max: usize,
    /// The reaction to a request with DNS names and no IP address.
    pub dns_only: AllowOrWait,
    /// The reaction to a request for only some of the Node's addresses.
    pub incomplete: AllowOrWait,
    /// The reaction to a DNS name that pods could resolve to a Service: `Allow`, `Wait`, or `WaitAlways`
    /// for names of more than two labels too.
    pub service_like: ServiceLike,
    /// Allowed domains. If the list is not empty, DNS names must be in one of them or be the Node's
    /// name.
    pub dns_suffixes: Vec<String>,
    /// Allowed networks. If the list is not empty, IP addresses must be in one of them.
    #[serde(deserialize_with = "fields::networks")]
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
    /// Addresses, networks and DNS names that several Nodes may have, such as one public address for a
    /// site. Other Nodes' claims on them do not count; all other rules do.
    #[schemars(with = "Vec<String>")]
    pub shared: Vec<SharedSan>,
}

impl Default for NamePolicy {
    fn default() -> Self {
        NamePolicy {
            max: 64,
            dns_only: AllowOrWait::Wait,
            incomplete: AllowOrWait::Allow,
            service_like: ServiceLike::Wait,
            dns_suffixes: Vec::new(),
            networks: Vec::new(),
            shared: Vec::new(),
        }
    }
}

/// The reaction to a DNS name that pods could resolve to a Service. The Node's own name is never one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ServiceLike {
    /// Continue with the other rules.
    Allow,
    /// Wait if it is one label, or two of which the second is a Namespace.
    Wait,
    /// Wait also if it has more labels and the last one is a Namespace.
    WaitAlways,
}

/// The proof that is required for a name to be the node's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProofPolicy {
    /// Time for which the Node's addresses must have been unchanged.
    #[serde(deserialize_with = "fields::duration")]
    #[schemars(with = "String")]
    pub addresses_stable_for: SignedDuration,
    /// Sources that must vouch for an IP address, besides the Node.
    pub ip_addresses: Corroboration,
    /// Sources that must vouch for the Node's own name, besides the Node.
    pub node_name: Corroboration,
    /// Sources that must vouch for any other DNS name, besides the Node.
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

/// Sources that must vouch for a name. A name that any of them contradicts is denied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Corroboration {
    /// Sources that must all vouch.
    pub all_of: Vec<IndependentSource>,
    /// Sources of which at least one must vouch, unless the list is empty.
    pub any_of: Vec<IndependentSource>,
}

/// A source of evidence that a kubelet cannot write.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
pub enum IndependentSource {
    /// The administrator's inventory.
    Inventory,
    /// The object from which the node was created, such as a Cluster API Machine, with its addresses.
    Machine,
    /// The existence of that object, which need not list addresses. It decides no contest of claims.
    MachineExists,
    /// The addresses that DNS has for the node's name.
    #[serde(rename = "DNS")]
    Dns,
    /// The serving certificate that the kubelet presents now: each name that it has.
    ServingCertificate,
    /// The renewal of that certificate: a request for exactly its names.
    Renewal,
}

impl IndependentSource {
    /// Every independent source.
    pub const ALL: [IndependentSource; 6] = [
        IndependentSource::Inventory,
        IndependentSource::Machine,
        IndependentSource::MachineExists,
        IndependentSource::Dns,
        IndependentSource::ServingCertificate,
        IndependentSource::Renewal,
    ];

    /// Returns true if it says of a name or address whose it is. The existence of a Machine does not,
    /// and a certificate says whose it was: a former owner may still have one.
    pub(crate) fn decides_claims(self) -> bool {
        match self {
            IndependentSource::Inventory | IndependentSource::Machine | IndependentSource::Dns => {
                true
            }
            IndependentSource::MachineExists
            | IndependentSource::ServingCertificate
            | IndependentSource::Renewal => false,
        }
    }

    /// Returns true if it needs Machines.
    pub(crate) fn is_of_machines(self) -> bool {
        matches!(
            self,
            IndependentSource::Machine | IndependentSource::MachineExists
        )
    }

    /// Returns true if it needs a certificate of the node, which it does not have at its first request.
    pub(crate) fn is_of_certificates(self) -> bool {
        matches!(
            self,
            IndependentSource::ServingCertificate | IndependentSource::Renewal
        )
    }
}

/// The spelling in policies.
impl fmt::Display for IndependentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IndependentSource::Inventory => "Inventory",
            IndependentSource::Machine => "Machine",
            IndependentSource::MachineExists => "MachineExists",
            IndependentSource::Dns => "DNS",
            IndependentSource::ServingCertificate => "ServingCertificate",
            IndependentSource::Renewal => "Renewal",
        })
    }
}
