//! Checks of the API server's version and clock.

use std::time::Duration;

use ipnet::IpNet;

use super::{format_age, not_known};
use crate::doctor::facts::Facts;
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

/// Tolerated clock skew. The signer backdates certificates by five minutes, and kubelets abandon
/// requests after 15 minutes.
const SKEW: Duration = Duration::from_secs(5);

pub(super) fn version(facts: &Facts) -> Checked {
    let version = facts.version.as_deref().unwrap_or("of unknown version");
    let mut findings = Vec::new();
    let mut seen = None;
    match &facts.service_cidrs {
        Ok(true) => seen = Some(format!("{version}, has ServiceCIDR")),
        Ok(false) if !facts.service_networks.is_empty() => {
            let networks: Vec<String> = facts.service_networks.iter().map(IpNet::to_string).collect();
            let networks = networks.join(", ");
            seen = Some(format!(
                "{version}, without ServiceCIDR: the policy names the networks of Services, {networks}"
            ));
        }
        Ok(false) => findings.push(
            Finding::new(
                Code::ServerTooOld,
                format!(
                    "the API server ({version}) has no networking.k8s.io/v1 ServiceCIDR, which \
                     Kubernetes 1.33 and newer have"
                ),
            )
            .fix("# on a control plane node\nkubeadm upgrade plan")
            .fix(
                "# or in the policy, with the value of kube-apiserver's --service-cluster-ip-range\n\
                 spec:\n  protected:\n    serviceNetworks: [10.96.0.0/12]",
            ),
        ),
        Err(why) => findings.push(not_known(why, "whether there are ServiceCIDR objects")),
    }
    if let Err(why) = &facts.version {
        findings.push(not_known(why, "the version of Kubernetes"));
    }
    Checked::new(Check::Version, seen, findings)
}

pub(super) fn clock(facts: &Facts) -> Checked {
    let clock = match &facts.clock {
        Ok(clock) => clock,
        Err(why) => {
            let finding = not_known(why, "the API server's time");
            return Checked::new(Check::Clock, None, vec![finding]);
        }
    };
    let certain = clock.ahead.unsigned_abs().saturating_sub(clock.uncertainty);
    if certain <= SKEW {
        let seen = "this machine and the API server agree".to_owned();
        return Checked::new(Check::Clock, Some(seen), Vec::new());
    }
    let way = if clock.ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let what = format!(
        "this machine's clock is {} {way} the API server's",
        format_age(clock.ahead.abs())
    );
    let finding = Finding::new(Code::ClockSkew, what)
        .fix("# on the machine whose clock is wrong\ntimedatectl set-ntp true");
    Checked::new(Check::Clock, None, vec![finding])
}
