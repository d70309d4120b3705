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
    ServerTooOld: Problem, "csr-warden protects Service addresses, and reads from ServiceCIDR objects \
        which these are. Without these objects every request waits, unless the policy names the \
        networks in protected.serviceNetworks.";
    ClockSkew: Warning, "Certificates have a first and a last time of validity, and a request expires \
        15 minutes after it was made. Clocks that differ make good certificates look expired.";

    ApproverBuiltIn: Warning, "It decides as soon as a kubelet sends a request. It may approve a \
        request that csr-warden lets wait or denies, before csr-warden sees it.";
    RequestsNotSent: Warning, "An approver has nothing to decide there. The distribution's own server \
        issues the certificates, and decides what they contain.";

    BootstrapOff: Problem, "Joining nodes get their kubelet's configuration from here. Without \
        serverTLSBootstrap the kubelet signs its own certificate, which no client can verify.";
    BootstrapMisspelled: Problem, "The kubelet ignores an unknown key, or does not start. In both \
        cases it requests no serving certificate.";
    KubeletConfigUnreadable: Problem, "Joining nodes get their kubelet's configuration from here, and \
        a kubelet does not start with a configuration that it cannot read.";
    KubeletConfigAbsent: Unknown, "kubeadm keeps the configuration for joining nodes there. This \
        cluster was not created by kubeadm, so each kubelet's own configuration applies.";
    KubeletBootstrapOff: Problem, "The kubelet runs without serverTLSBootstrap, so it never requests a \
        serving certificate and presents one that it has signed itself.";
    KubeletConfigUnseen: Unknown, "Only a kubelet's own answer (configz), which comes through the API \
        server, shows the configuration that it runs with.";

    NoNodes: Unknown, "Without Nodes there are no kubelets whose certificates could be checked.";
    KubeletNoCertificate: Problem, "The kubelet refuses every TLS connection (tls: internal error): \
        kubectl logs and exec, metrics-server and the API server's proxy fail.";
    KubeletSelfSigned: Problem, "No client can verify a certificate that the kubelet has signed \
        itself, so anyone between a client and the node can pose as the kubelet.";
    KubeletOtherAuthority: Warning, "A CA other than the cluster's has signed it, so clients that \
        trust only the cluster's CA reject it.";
    KubeletCertificateExpired: Problem, "Clients that verify the kubelet reject it.";
    KubeletCertificateExpiresSoon: Warning, "A kubelet requests the next certificate when 70 to 90 \
        percent of the validity have passed. This one should have it by now.";
    KubeletWrongNames: Problem, "Clients connect to a kubelet at its Node's address, and reject a \
        certificate without that address.";
    KubeletOfAnother: Problem, "The certificate was issued to another node. Either two nodes have the \
        same address, or an attacker poses as a node.";
    KubeletNotTrusted: Problem, "The API server rejects the certificate that the kubelet presents: \
        kubectl logs and exec fail for Pods on these nodes.";
    KubeletUnreachable: Unknown, "Only the kubelet's own port shows the certificate that it presents.";

    SignerSilent: Problem, "Approval alone gives no certificate: kube-controller-manager must sign it. \
        A kubelet gives up after 15 minutes and sends another request.";
    ControllerManagerSilent: Problem, "Its signer issues the certificates. While it is down nothing is \
        signed, regardless of who approves.";
    SignerRefuses: Warning, "The signer rejects requests that no kubelet may make. This one was \
        approved nevertheless, so the approver does not check them.";
    RequestsPending: Warning, "A kubelet without a certificate refuses every connection. A request \
        that waits longer than moments has no approver, or waits for a reason.";

    NodesDenied: Problem, "Their kubelets would get no certificate, and refuse every connection once \
        serverTLSBootstrap is on. A denial cannot be undone.";
    NodesWaiting: Problem, "Until that changes, their kubelets would get no certificate, and refuse \
        every connection once serverTLSBootstrap is on.";
    NodesNotAsking: Warning, "A kubelet requests a certificate once its Node has an IP address, which \
        a cloud provider may set later.";
    EvidenceMissing: Unknown, "csr-warden itself approves nothing until it can read this. The verdicts \
        on Nodes may change with it.";
    AddressesShared: Warning, "An address belongs to one node. The first Node to claim it gets it, and \
        the others wait, unless the policy's names.shared lists it.";
    NodesUnderClusterDomain: Warning, "Names under the cluster's domain mean Services, so any name \
        there other than a Node's own is denied.";

    WardenAbsent: Problem, "Kubernetes never approves serving certificates by itself. Without an \
        approver, kubelets get none; with an approver that checks nothing, any kubelet gets any name.";
    WardenSilent: Problem, "csr-warden is installed and no replica leads, so no request is approved \
        and no forged one is denied.";
    OtherApprover: Problem, "Another approver decides too. The first decision counts, so the other \
        approver may approve a request that csr-warden lets wait or denies.";
    ApprovedByOthers: Warning, "csr-warden did not check these certificates against the cluster. If \
        one has a name that is not the node's, it stays valid until it expires.";
    MayApprove: Warning, "A subject that may approve serving certificates can, with a stolen kubelet \
        credential, get one for the API server's own names.";

    NodeRestrictionOff: Problem, "Any kubelet can write any Node, including its addresses. No policy \
        protects against that, since requests are checked against the Node.";
    NodeRestrictionUnknown: Unknown, "Without NodeRestriction any kubelet can write any Node. Only an \
        attempt shows that it is on; doctor makes the attempt as a dry run.";

    ApiServerDoesNotVerify: Problem, "The API server connects to kubelets without verifying them: \
        anyone in between sees all logs and every exec session, and can change them.";
    ApiServerUnseen: Unknown, "The flags of API servers are visible only where API servers are Pods. \
        Managed control planes hide them.";

    MetricsServerInsecure: Problem, "metrics-server accepts metrics from anyone who answers at a \
        node's address, so an attacker in between can steer autoscaling.";
    AutoscalerWithoutMetrics: Problem, "The autoscaler cannot read CPU or memory metrics, so it does \
        not scale. The usual reason is that metrics-server cannot verify kubelets.";

    RightMissing: Unknown, "Without this right the check cannot be made.";
    ReadFailed: Unknown, "Without an answer this question stays open. Other checks do not depend on \
        it.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
