//! Check of the distribution: its name, and who approves kubelets' requests there already.

use super::not_known;
use crate::doctor::distributions::{APPROVERS, Approver, DISTRIBUTIONS, Distribution, Sign};
use crate::doctor::facts::{Facts, ReadFailure, Workload};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

pub(super) fn distribution(facts: &Facts) -> Checked {
    let known: Vec<&Distribution> = DISTRIBUTIONS
        .iter()
        .filter(|distribution| distribution.signs.iter().any(|sign| shows(facts, *sign)))
        .collect();
    let mut findings: Vec<Finding> = known.iter().copied().filter_map(finding).collect();
    let names: Vec<&str> = known.iter().map(|distribution| distribution.name).collect();
    let observed = match names.is_empty() {
        false => Some(format!("{}; {}", names.join(", "), approves(facts, &known))),
        // An unreadable object may be a sign.
        true => unread(facts).is_empty().then(|| {
            let approves = approves(facts, &known);
            format!("not recognized; {approves}")
        }),
    };
    if names.is_empty() {
        let so = "the distribution";
        findings.extend(unread(facts).into_iter().map(|why| not_known(why, so)));
    }
    Checked::new(Check::Distribution, observed, findings)
}

fn unread(facts: &Facts) -> Vec<&ReadFailure> {
    let groups = facts.api_groups.as_ref().err();
    let maps = facts.config_maps.as_ref().err();
    groups.into_iter().chain(maps).collect()
}

fn shows(facts: &Facts, sign: Sign) -> bool {
    let mut nodes = facts.nodes.iter().flatten();
    match sign {
        Sign::Version(part) => facts.version.as_ref().is_ok_and(|v| v.contains(part)),
        Sign::ServerHost(end) => {
            let url: Option<http::Uri> = facts.server.parse().ok();
            url.is_some_and(|url| url.host().is_some_and(|host| host.ends_with(end)))
        }
        Sign::ApiGroup(name) => {
            let mut groups = facts.api_groups.iter().flatten();
            groups.any(|group| group == name)
        }
        Sign::Workload(namespace, name) => {
            let mut workloads = facts.workloads.iter().flatten();
            workloads.any(|one| one.namespace == namespace && one.name == name)
        }
        Sign::ConfigMap(name) => {
            let mut maps = facts.config_maps.iter().flatten();
            maps.any(|map| *map == name)
        }
        Sign::ControlPlaneOs(start) => nodes.any(|node| {
            let os = node.control_plane.then_some(node.os_image.as_deref());
            os.flatten().is_some_and(|os| os.starts_with(start))
        }),
        Sign::ControlPlaneProvider(start) => nodes.any(|node| {
            let id = node.control_plane.then_some(node.provider_id.as_deref());
            id.flatten().is_some_and(|id| id.starts_with(start))
        }),
        Sign::EveryNode(label) => {
            let any = facts.nodes.as_ref().is_ok_and(|nodes| !nodes.is_empty());
            any && nodes.all(|node| node.sign_labels.contains(&label))
        }
    }
}

/// The approvers that are there already, in a few words.
fn approves(facts: &Facts, known: &[&Distribution]) -> String {
    let mut approvers: Vec<String> = known
        .iter()
        .filter_map(|distribution| match distribution.approver {
            Approver::Absent | Approver::NoRequests(_) => None,
            Approver::BuiltIn(name) => Some(name.to_owned()),
            // Where workloads can be read, it is one of them.
            Approver::Deployed(name) => facts.workloads.is_err().then(|| name.to_owned()),
        })
        .collect();
    let workloads = facts.workloads.iter().flatten();
    let running = workloads.filter(|workload| workload.desired > 0 && is_approver(workload));
    approvers.extend(running.map(Workload::display_name));
    match approvers.is_empty() {
        true if facts.workloads.is_err() => "approvers unknown".to_owned(),
        true => "no other approver is seen".to_owned(),
        false => format!("approvers: {}", approvers.join(", ")),
    }
}

/// Returns true for a program that is known to approve kubelets' requests.
pub(super) fn is_approver(workload: &Workload) -> bool {
    let named = |name: &str| APPROVERS.iter().any(|(known, _)| *known == name);
    let image = |image: &str| {
        let last = image.rsplit('/').next().unwrap_or(image);
        let name = last.split(['@', ':']).next().unwrap_or(last);
        named(name)
    };
    named(&workload.name)
        || workload.label.as_deref().is_some_and(named)
        || workload.containers.iter().any(|one| image(&one.image))
}

fn finding(distribution: &Distribution) -> Option<Finding> {
    let Distribution { name, source, .. } = distribution;
    match distribution.approver {
        // A Deployment has its own finding while it runs.
        Approver::Absent | Approver::Deployed(_) => None,
        Approver::BuiltIn(approver) => Some(
            Finding::new(
                Code::ApproverBuiltIn,
                format!("{approver} of {name} approves kubelets' requests ({source})"),
            )
            .about([approver.to_owned()])
            .fix("# which of the approved requests csr-warden would refuse\ncsr-warden audit"),
        ),
        Approver::NoRequests(issuer) => Some(Finding::new(
            Code::RequestsNotSent,
            format!("kubelets of {name} have their certificate from {issuer} ({source})"),
        )),
    }
}
