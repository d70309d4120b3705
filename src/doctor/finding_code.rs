//! Finding codes of `doctor`, each with its severity and reason. A code never changes its meaning;
//! `docs/doctor.md` explains each.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Severity of a finding; a worse one compares as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// The check could not be completed.
    Unknown,
    /// It works now, but may stop working, or works for an unexpected reason.
    Warning,
    /// Kubelets cannot be verified, or too many subjects are trusted.
    Problem,
}

macro_rules! codes {
    ($($name:ident: $severity:ident, $why:literal;)*) => {
        /// The kind of a finding.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema,
        )]
        pub enum Code {
            $(#[doc = $why] $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The severity of findings with this code.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)*
                }
            }

            /// The reason that it matters, in whole sentences.
            pub fn why(self) -> &'static str {
                match self {
                    $(Code::$name => $why,)*
                }
            }

            /// The code's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    ServerTooOld: Problem, "csr-warden protects the addresses of Services, and reads from \
        ServiceCIDR objects which these are. Without them every request waits, unless the policy names \
        them in protected.serviceNetworks.";
    ClockSkew: Warning, "Certificates hold from one time to another, and a request is given up 15 \
        minutes after it was made. Clocks that differ make good certificates look expired.";

    ApproverBuiltIn: Warning, "It decides as soon as a kubelet asks. A request that csr-warden lets \
        wait or denies may be approved by it first.";
    RequestsNotSent: Warning, "An approver has nothing to decide there. The distribution's own server \
        issues the certificates, and decides what is in them.";

    BootstrapOff: Problem, "Nodes that join get their kubelet's configuration from here. Without \
        serverTLSBootstrap the kubelet signs its own certificate, which nobody can verify.";
    BootstrapMisspelled: Problem, "The kubelet takes no notice of a key that it does not know, or \
        does not start. In both cases it asks for no serving certificate.";
    KubeletConfigUnreadable: Problem, "Nodes that join get their kubelet's configuration from \
        here, and a kubelet does not start with one that it cannot read.";
    KubeletConfigAbsent: Unknown, "kubeadm keeps the configuration for nodes that join there. This \
        cluster was made in another way, so each kubelet's own configuration is what counts.";
    KubeletBootstrapOff: Problem, "The kubelet runs without serverTLSBootstrap, so it never asks \
        for a serving certificate and shows one that it has signed itself.";
    KubeletConfigUnseen: Unknown, "What a kubelet really runs with stands only in its own answer \
        (configz), which comes through the API server.";

    NoNodes: Unknown, "Without Nodes there are no kubelets whose certificates could be looked at.";
    KubeletNoCertificate: Problem, "The kubelet refuses every TLS connection (tls: internal \
        error): kubectl logs and exec, metrics-server and the API server's proxy fail.";
    KubeletSelfSigned: Problem, "Nobody can verify a certificate that the kubelet has signed \
        itself, so whoever is between a client and the node can pose as the kubelet.";
    KubeletOtherAuthority: Warning, "It is signed by an authority that is not the cluster's, so \
        clients that trust only the cluster's CA refuse it.";
    KubeletCertificateExpired: Problem, "Clients that verify the kubelet refuse it.";
    KubeletCertificateExpiresSoon: Warning, "A kubelet asks for the next certificate when 70 to 90 \
        percent of the time are over. This one should have it by now.";
    KubeletWrongNames: Problem, "Clients reach a kubelet at its Node's address, and refuse a \
        certificate that does not have it.";
    KubeletOfAnother: Problem, "The certificate was issued to another node. Either two nodes have \
        one address, or somebody poses as a node.";
    KubeletNotTrusted: Problem, "The API server does not accept what the kubelet shows: kubectl \
        logs and exec fail for Pods on these nodes.";
    KubeletUnreachable: Unknown, "The certificate that a kubelet shows is seen only on its own port.";

    SignerSilent: Problem, "Approval alone is no certificate: kube-controller-manager must sign \
        it. A kubelet gives up after 15 minutes and asks again.";
    ControllerManagerSilent: Problem, "Its signer issues the certificates. While it is down \
        nothing is signed, whoever approves.";
    SignerRefuses: Warning, "The signer refuses what no kubelet may ask for, and this was approved \
        all the same: whoever approves does not look at it.";
    RequestsPending: Warning, "A kubelet without certificate refuses every connection. A request \
        that waits longer than moments is not approved by anybody, or waits for a reason.";

    NodesDenied: Problem, "Their kubelets would get no certificate, and refuse every connection once \
        serverTLSBootstrap is on. A denial cannot be undone.";
    NodesWaiting: Problem, "Their kubelets would get no certificate while that is so, and refuse every \
        connection once serverTLSBootstrap is on.";
    NodesNotAsking: Warning, "A kubelet asks for a certificate once its Node has an IP address, which a \
        cloud provider may set later.";
    EvidenceMissing: Unknown, "csr-warden itself approves nothing until it can read this. The verdicts \
        on Nodes may change with it.";
    AddressesShared: Warning, "An address belongs to one node. The first to claim it gets it, and the \
        others wait, unless the policy's names.shared lists it.";
    NodesUnderClusterDomain: Warning, "Names under the cluster's domain mean Services, so another name \
        than a Node's own is denied there.";

    WardenAbsent: Problem, "Kubernetes never approves serving certificates by itself. Without an \
        approver kubelets stay without; with one that looks at nothing, anybody gets any name.";
    WardenSilent: Problem, "csr-warden is installed and no replica leads, so nothing is approved \
        and nothing forged is denied.";
    OtherApprover: Problem, "Another approver decides too. Whichever is first wins, so a request \
        that csr-warden lets wait or denies may be approved by the other one.";
    ApprovedByOthers: Warning, "These certificates were not held against the cluster by \
        csr-warden. If one has a name that is not the node's, it holds until it expires.";
    MayApprove: Warning, "Whoever may approve serving certificates can get one for the API \
        server's own names by a stolen kubelet credential.";

    NodeRestrictionOff: Problem, "Any kubelet can write any Node, its addresses too, and no policy \
        holds against that: the Node is what requests are held against.";
    NodeRestrictionUnknown: Unknown, "Without NodeRestriction any kubelet can write any Node. \
        Whether it is on shows only in an attempt, which is made as a dry run.";

    ApiServerDoesNotVerify: Problem, "The API server talks to kubelets without verifying them: \
        whoever is in between sees all logs and every exec session, and can change them.";
    ApiServerUnseen: Unknown, "The flags of API servers show only where these are Pods. Managed \
        control planes hide them.";

    MetricsServerInsecure: Problem, "metrics-server takes figures from anybody who answers at a \
        node's address, so autoscaling can be steered by whoever is in between.";
    AutoscalerWithoutMetrics: Problem, "The autoscaler cannot read CPU or memory figures, so it \
        does not scale. Most often metrics-server cannot verify kubelets.";

    RightMissing: Unknown, "Without this right nothing can be said about it.";
    ReadFailed: Unknown, "Without an answer this question stays open. Other checks do not depend on it.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
