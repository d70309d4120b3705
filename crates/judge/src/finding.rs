//! Findings about a request, each with a stable code.
//!
//! A code belongs to one row of the threat table (`docs/verdicts.md`) and never changes its
//! meaning. Metrics, logs, conditions and tests refer to it by name.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::evidence::{Claimed, Source};

/// The effect of a finding on the verdict, from least to most severe. The most severe one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Evidence is missing or too old: leave the request pending and judge it again.
    Wait,
    /// No later state of the cluster could change this.
    Deny,
    /// The request is not csr-warden's to decide.
    Ignore,
}

macro_rules! codes {
    ($($code:ident $row:literal $effect:ident $text:literal)*) => {
        /// The stable name of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $text] $code,)*
        }

        impl Code {
            /// Every code, in the order of the threat table.
            pub const ALL: &'static [Code] = &[$(Code::$code,)*];

            /// The name in metrics, logs and conditions.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// The row of the threat table.
            pub fn row(self) -> u8 {
                match self { $(Code::$code => $row,)* }
            }

            /// The effect, unless the policy sets another.
            pub fn effect(self) -> Effect {
                match self { $(Code::$code => Effect::$effect,)* }
            }

            /// The meaning of the code, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }
        }
    };
}

codes! {
    SignerOther 1 Ignore "the request is for another signer"
    RequestSettled 2 Ignore "the request is already approved, denied, failed or issued"
    RequestTerminating 2 Ignore "the request is being deleted"
    RequestorNotNode 4 Ignore "the requestor is not a node"
    GroupNodesMissing 5 Deny "the requestor is not in group system:nodes"
    GroupAuthenticatedMissing 6 Deny "the requestor is not in group system:authenticated"
    GroupsExtra 7 Deny "the requestor is in a group that nodes are never in"
    CredentialIdMissing 8 Deny "the requestor did not authenticate with a client certificate"
    NodeNameInvalid 9 Deny "the requestor's node name is not a DNS-1123 subdomain"
    RequestorUidSet 10 Deny "the requestor has a UID, which no node has"
    UsageExtra 11 Deny "the request has a usage that a serving certificate must not have"
    UsageMissing 12 Deny "the request lacks a usage that a serving certificate must have"
    ExpirationTooLong 14 Deny "the certificate would be valid for longer than the policy allows"
    RequestStale 15 Ignore "the request is so old that the kubelet has discarded its key"
    RequestTooLarge 17 Deny "the request is larger than any that a kubelet creates"
    PemMissing 18 Deny "the request is not PEM"
    PemLabelWrong 18 Deny "the PEM block is not a certificate request"
    PemNotExact 19 Deny "the request is not exactly one plain PEM block"
    DerMalformed 20 Deny "the request does not decode as a certification request"
    DerTrailingBytes 20 Deny "bytes follow the certification request"
    DerNotCanonical 20 Deny "the request is not in canonical DER"
    ReadersDisagree 20 Deny "two parsers decode the request differently"
    SignatureInvalid 21 Deny "the request is not signed by its own key"
    SignatureAlgorithmRefused 21 Deny "the request is signed with a weak or unknown algorithm"
    KeyRefused 22 Deny "the key is too small, too large or of an unknown type"
    KeyOfAnotherNode 24 Deny "the key is in use by another node"
    CommonNameRepeated 25 Deny "the subject has more than one common name"
    RdnMultiValued 25 Deny "a relative distinguished name has more than one value"
    SubjectAttributeExtra 26 Deny "the subject has an attribute besides CN and O"
    OrganizationMissing 27 Deny "the subject has no organization"
    OrganizationRepeated 27 Deny "the subject has more than one organization"
    OrganizationWrong 27 Deny "the organization is not system:nodes"
    CommonNameMissing 28 Deny "the subject has no common name"
    CommonNameMismatch 28 Deny "the common name is not the requestor's user name"
    ExtensionRequestMissing 30 Deny "no extensions are requested, so no SAN"
    ExtensionRequestRepeated 30 Deny "more than one list of extensions is requested"
    AttributeExtra 31 Deny "the request has an attribute besides the extension request"
    ExtensionExtra 32 Deny "an extension besides the SAN is requested"
    SanRepeated 33 Deny "the request has more than one SAN extension"
    SanMalformed 33 Deny "the SAN extension is not exactly one list of names"
    SanMissing 34 Deny "the request has no SAN"
    SanKindRefused 35 Deny "a SAN is neither a DNS name nor an IP address"
    SanWithoutIp 36 Wait "the SANs have only DNS names, no IP address"
    SanIncomplete 37 Wait "the request lacks a name or address that the Node has"
    SanNotOfNode 38 Wait "a SAN is not among the Node's addresses"
    SanUncorroborated 39 Wait "only the Node itself vouches for a SAN"
    SanContradicted 40 Deny "an independent source contradicts a SAN"
    SanServiceAddress 41 Deny "a SAN is a Service address"
    SanApiServerEndpoint 42 Deny "a SAN is an address of an API server, and a control-plane node has it"
    SanApiServerEndpointUnowned 42 Wait "a SAN is an address of an API server, and no control-plane node has it yet"
    SanApiServerIdentity 44 Deny "a SAN is a name or address of the API server"
    SanApiServerIdentityUnowned 44 Wait "a SAN is in an API server's certificate, and no control-plane node has it yet"
    SanApiServerIdentityNotAllowed 44 Wait "a control-plane node requests a name or address of the API server that the policy does not allow it"
    SanRecentlyProtected 44 Wait "a SAN was a name or address of the API server or of Services until recently"
    SanProtected 44 Deny "a SAN is on the policy's list of protected names and networks"
    SanOutsidePolicy 44 Wait "a SAN is outside the policy's suffixes or networks"
    SanReservedAddress 45 Deny "a SAN is an address that no node can have"
    SanPodAddress 46 Wait "a SAN is in the pod network of a Node, and is not known to be older than that network"
    SanOfOlderMachine 47 Deny "an older Machine of another node has the SAN, and the Node's own Machine does not"
    SanContested 47 Wait "another Node or Machine also claims the SAN, and is not known to have claimed it later"
    SanIpMalformed 48 Deny "a SAN is a malformed IP address"
    SanClusterName 49 Deny "a SAN is a name of the cluster's own services"
    SanWildcard 50 Deny "a SAN is a wildcard"
    SanDnsMalformed 51 Deny "a SAN is not a host name"
    SanOfAnotherNode 53 Deny "a SAN is the name of another Node that existed before"
    SanDuplicate 54 Deny "a SAN is requested twice"
    SanTooMany 54 Deny "the request has more SANs than the policy allows"
    NodeMissing 57 Wait "the Node does not exist"
    NodeTerminating 58 Ignore "the Node is being deleted"
    NodeYounger 59 Wait "the Node was created after the request"
    NodeAddressesMissing 60 Wait "the Node has no IP address yet"
    NodeUninitialized 60 Wait "the cloud provider has not initialized the Node yet"
    NodeAddressesUnstable 61 Wait "the Node's addresses changed a moment ago"
    MachineMissing 62 Wait "no Machine refers to the Node"
    MachineIncomplete 62 Wait "the Machine has no addresses, or the Machine or the Node has no provider ID"
    MachineReplaced 62 Wait "several Machines refer to the Node, and one is being deleted"
    MachineRepeated 63 Deny "several Machines refer to the Node"
    ProviderIdContested 63 Wait "another Node also has the provider ID, and is not known to have claimed it later"
    MachineProviderIdMismatch 63 Deny "the Machine and the Node refer to different instances"
    SourceUnready 64 Wait "the evidence about the cluster is incomplete or too old"
    RequestNameInvalid 68 Deny "the request's name is not a DNS-1123 subdomain"
    SanLooksLikeService 71 Wait "a SAN is a name that pods could resolve to a Service"
    SanLikeAnotherNode 72 Wait "a SAN is the name of another Node with or without a domain"
    SanLocalName 73 Deny "a SAN is a name that means the machine itself or its cloud on every machine"
}

impl Code {
    /// Returns true for a denial that an honest kubelet can cause, by its own configuration or by that of
    /// the cluster, the policy or a source.
    pub fn is_of_honest_kubelets(self) -> bool {
        matches!(
            self,
            Code::GroupsExtra
                | Code::CredentialIdMissing
                | Code::RequestorUidSet
                | Code::ExpirationTooLong
                | Code::KeyRefused
                | Code::SanContradicted
                | Code::SanProtected
                | Code::SanReservedAddress
                | Code::SanOfOlderMachine
                | Code::SanDnsMalformed
                | Code::SanTooMany
                | Code::MachineRepeated
                | Code::MachineProviderIdMismatch
                | Code::SanLocalName
        )
    }

    /// Returns true for a name, an address or a provider ID that more than one Node claims.
    pub fn is_contested(self) -> bool {
        matches!(
            self,
            Code::SanContested | Code::SanPodAddress | Code::ProviderIdContested
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A question to a DNS server or a kubelet. It is asked only when a request depends on the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// The addresses of this name in DNS.
    Addresses(Arc<str>),
    /// The names of this address in DNS (PTR).
    Names(IpAddr),
    /// The certificate that a kubelet presents at this address.
    Certificate(IpAddr),
}

impl Question {
    /// The source that answers it.
    pub fn source(&self) -> Source {
        match self {
            Question::Addresses(_) | Question::Names(_) => Source::Dns,
            Question::Certificate(_) => Source::ServingCertificates,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Addresses(name) => write!(f, "the addresses of {name}"),
            Question::Names(ip) => write!(f, "the names of {ip}"),
            Question::Certificate(ip) => write!(f, "the certificate that a kubelet shows at {ip}"),
        }
    }
}

/// An event that can change a verdict of Wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Awaited {
    /// The Node of this name.
    Node(Arc<str>),
    /// The beginning or the end of a claim on this.
    Claim(Claimed),
    /// A Machine, by its own key, by the Node that it refers to, or by its provider ID.
    Machine(Arc<str>),
    /// The answer to a question.
    Answer(Question),
    /// A source of evidence, by its name.
    Source(&'static str),
    /// A later time, by the monotonic clock.
    Time(jiff::Timestamp),
    /// The names and addresses of API servers and Services.
    ProtectedIdentities,
    /// Another policy.
    Policy,
}

impl Awaited {
    /// The question, if its answer is awaited.
    pub fn question(&self) -> Option<&Question> {
        match self {
            Awaited::Answer(question) => Some(question),
            Awaited::Node(_)
            | Awaited::Claim(_)
            | Awaited::Machine(_)
            | Awaited::Source(_)
            | Awaited::Time(_)
            | Awaited::ProtectedIdentities
            | Awaited::Policy => None,
        }
    }

    /// The time, if a time is awaited.
    pub fn time(&self) -> Option<jiff::Timestamp> {
        match self {
            Awaited::Time(time) => Some(*time),
            Awaited::Node(_)
            | Awaited::Claim(_)
            | Awaited::Machine(_)
            | Awaited::Answer(_)
            | Awaited::Source(_)
            | Awaited::ProtectedIdentities
            | Awaited::Policy => None,
        }
    }
}

/// One observation about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable name.
    pub code: Code,
    /// The effect on the verdict.
    pub effect: Effect,
    /// `expected …, found …`, for a person.
    pub detail: String,
    /// The events to wait for; empty unless the effect is `Wait`.
    pub awaits: Vec<Awaited>,
}

/// Maximum number of findings with one code. An attacker could multiply them without limit.
const MAX_PER_CODE: usize = 8;

/// All findings of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding with the effect that its code has.
    pub fn add(&mut self, code: Code, detail: impl Into<String>) {
        self.push(code, code.effect(), detail.into(), Vec::new());
    }

    /// Adds a finding whose effect the policy decides.
    pub fn add_with(&mut self, code: Code, effect: Effect, detail: impl Into<String>) {
        self.push(code, effect, detail.into(), Vec::new());
    }

    /// Adds a finding with the effect `Wait` and the events that can change it.
    pub fn wait(&mut self, code: Code, awaits: Vec<Awaited>, detail: impl Into<String>) {
        self.push(code, Effect::Wait, detail.into(), awaits);
    }

    /// Adds all findings of another list.
    pub fn extend(&mut self, other: &Findings) {
        for finding in &other.0 {
            self.push(
                finding.code,
                finding.effect,
                finding.detail.clone(),
                finding.awaits.clone(),
            );
        }
    }

    /// The most severe effect; `None` without findings.
    pub fn effect(&self) -> Option<Effect> {
        self.0.iter().map(|finding| finding.effect).max()
    }

    /// The findings in the order in which they were made.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Returns true if there are no findings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if no further finding with this code is kept.
    pub fn is_full(&self, code: Code) -> bool {
        let same = self.0.iter().filter(|other| other.code == code);
        same.count() >= MAX_PER_CODE
    }

    fn push(&mut self, code: Code, effect: Effect, detail: String, awaits: Vec<Awaited>) {
        let same = self.0.iter().filter(|other| other.code == code);
        if same.clone().count() < MAX_PER_CODE && !same.clone().any(|o| o.detail == detail) {
            self.0.push(Finding {
                code,
                effect,
                detail,
                awaits,
            });
        }
    }
}

/// Escapes untrusted text for logs and output: control and non-ASCII bytes are escaped, and the text
/// is truncated to 80 bytes.
pub fn escaped(bytes: &[u8]) -> String {
    const MAX_BYTES: usize = 80;
    let head = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    let mut text = head.escape_ascii().to_string();
    if bytes.len() > MAX_BYTES {
        text.push('…');
    }
    text
}
