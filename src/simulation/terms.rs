//! The policies of a simulation, and the file that each replica reads them from.

use std::fmt;

use judge::policy::{Enforcement, Policy, parse};
use lab::random::SeededRng;

/// The beginning of the name of every policy, before its number.
const NAME: &str = "terms-";

/// The settings in which the policies of a simulation differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) enforcement: Enforcement,
    /// `addressesStableFor`, in seconds.
    pub(super) stable_for: u32,
    /// True if a Machine must vouch for each name and address.
    pub(super) needs_machines: bool,
    /// True if the certificate of each endpoint is required.
    pub(super) needs_certificates: bool,
}

impl Terms {
    /// Draws terms.
    pub(super) fn draw(has_machines: bool, rng: &mut SeededRng) -> Terms {
        Terms {
            enforcement: match rng.below(6) {
                0 => Enforcement::DryRun,
                1 => Enforcement::ApproveOnly,
                _ => Enforcement::ApproveAndDeny,
            },
            stable_for: match rng.below(4) {
                0 => 45,
                _ => 0,
            },
            needs_machines: has_machines && rng.below(2) == 0,
            needs_certificates: rng.below(3) != 0,
        }
    }

    /// The text of the policy with this number.
    pub(super) fn text(&self, number: usize) -> String {
        let Terms {
            enforcement,
            stable_for,
            ..
        } = self;
        let (machines, proof) = match self.needs_machines {
            // The embedded API server has no custom resources, so NetworkPolicies are Machines here.
            true => (
                "[{group: networking.k8s.io, kind: NetworkPolicy, namespace: kube-system, \
                 nodeName: .metadata.annotations.node, providerID: .metadata.annotations.provider, \
                 addresses: [.metadata.annotations.address]}]",
                "{allOf: [Machine]}",
            ),
            false => ("[]", "{}"),
        };
        let certificates = match self.needs_certificates {
            true => "Required",
            false => "Optional",
        };
        format!(
            "apiVersion: csr-warden.dev/v1beta1\n\
             kind: Policy\n\
             metadata: {{name: {NAME}{number}}}\n\
             spec:\n\
             \x20 enforcement: {enforcement}\n\
             \x20 sources: {{machines: {machines}}}\n\
             \x20 proof: {{addressesStableFor: {stable_for}s, ipAddresses: {proof}, nodeName: {proof}}}\n\
             \x20 protected: {{endpointCertificates: {certificates}}}\n"
        )
    }

    /// The policy with this number.
    pub(super) fn policy(&self, number: usize) -> Policy {
        parse(&self.text(number)).expect("a policy")
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, addresses stable for {} s",
            self.enforcement, self.stable_for
        )?;
        if self.needs_machines {
            f.write_str(", with Machines")?;
        }
        if !self.needs_certificates {
            f.write_str(", endpoints' certificates optional")?;
        }
        Ok(())
    }
}

/// The number of the policy that a condition names.
pub(super) fn number_in(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once(NAME)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
