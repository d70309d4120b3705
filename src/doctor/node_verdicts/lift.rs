//! Findings that a policy line can lift. Each code is decided here, and nowhere else.

use judge::finding::Code;

/// The kind of policy line that lifts a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lift {
    /// `names.max`.
    Max,
    /// `names.dnsSuffixes` and `names.networks`.
    OutsidePolicy,
    /// `protected.allowed`, for control-plane nodes alone.
    ApiServerIdentity,
    /// Several Nodes claim it. All claimants are named; `names.shared` is suggested only for an address
    /// that many Nodes have and no Node alone.
    Contested,
    /// Nothing needs to: the state passes.
    Passing,
    /// Nothing that could be suggested: a forgery, or proof that the policy demands.
    NoLine,
}

/// The kind of policy line for a code.
pub(super) fn lift(code: Code) -> Lift {
    match code {
        // A kubelet asks for its Node's addresses alone, so others lie beyond the limit.
        Code::SanTooMany | Code::SanNotOfNode => Lift::Max,
        Code::SanOutsidePolicy => Lift::OutsidePolicy,
        Code::SanApiServerIdentityNotAllowed => Lift::ApiServerIdentity,
        Code::SanContested
        | Code::SanPodAddress
        | Code::SanOfAnotherNode
        | Code::SanLikeAnotherNode
        | Code::ProviderIdContested => Lift::Contested,

        Code::NodeMissing
        | Code::NodeTerminating
        | Code::NodeYounger
        | Code::NodeAddressesMissing
        | Code::NodeUninitialized
        | Code::NodeAddressesUnstable
        | Code::SourceUnready => Lift::Passing,

        // Identities of the API server and of Services, and names like theirs: never for a node without
        // the label, and not for every node because of one.
        Code::SanLooksLikeService
        | Code::SanServiceAddress
        | Code::SanApiServerEndpoint
        | Code::SanApiServerEndpointUnowned
        | Code::SanApiServerIdentity
        | Code::SanApiServerIdentityUnowned
        | Code::SanClusterName
        | Code::SanRecentlyProtected
        // The administrator's own list.
        | Code::SanProtected
        // Names and addresses that no machine has alone.
        | Code::SanReservedAddress
        | Code::SanLocalName
        | Code::SanIpMalformed
        | Code::SanWildcard
        | Code::SanDnsMalformed
        | Code::SanDuplicate
        // Proof that the policy demands: the source is what is missing.
        | Code::SanIncomplete
        // A kubelet without an IP address asks for nothing.
        | Code::SanWithoutIp
        | Code::SanUncorroborated
        | Code::SanContradicted
        | Code::SanOfOlderMachine
        | Code::MachineMissing
        | Code::MachineIncomplete
        | Code::MachineReplaced
        | Code::MachineRepeated
        | Code::MachineProviderIdMismatch
        // Properties of a request, which is a kubelet's here.
        | Code::SignerOther
        | Code::RequestSettled
        | Code::RequestTerminating
        | Code::RequestorNotNode
        | Code::GroupNodesMissing
        | Code::GroupAuthenticatedMissing
        | Code::GroupsExtra
        | Code::CredentialIdMissing
        | Code::NodeNameInvalid
        | Code::RequestorUidSet
        | Code::UsageExtra
        | Code::UsageMissing
        | Code::ExpirationTooLong
        | Code::RequestStale
        | Code::RequestTooLarge
        | Code::PemMissing
        | Code::PemLabelWrong
        | Code::PemNotExact
        | Code::DerMalformed
        | Code::DerTrailingBytes
        | Code::DerNotCanonical
        | Code::ReadersDisagree
        | Code::SignatureInvalid
        | Code::SignatureAlgorithmRefused
        | Code::KeyRefused
        | Code::KeyOfAnotherNode
        | Code::CommonNameRepeated
        | Code::RdnMultiValued
        | Code::SubjectAttributeExtra
        | Code::OrganizationMissing
        | Code::OrganizationRepeated
        | Code::OrganizationWrong
        | Code::CommonNameMissing
        | Code::CommonNameMismatch
        | Code::ExtensionRequestMissing
        | Code::ExtensionRequestRepeated
        | Code::AttributeExtra
        | Code::ExtensionExtra
        | Code::SanRepeated
        | Code::SanMalformed
        | Code::SanMissing
        | Code::SanKindRefused
        | Code::RequestNameInvalid => Lift::NoLine,
    }
}
