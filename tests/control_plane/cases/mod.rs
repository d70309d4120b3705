//! All cases by subject.

mod canary;
mod chart;
mod claims;
mod conformance;
mod control_planes;
mod differential;
mod doctor;
mod dry_run;
mod dual_stack;
mod enabling;
mod events;
mod external_sources;
mod faults;
mod forgeries;
mod forgery;
mod hardening;
mod hostile_objects;
mod issued_certificates;
mod kubeadm_ha;
mod kubelet_requests;
mod large_metadata;
mod late_evidence;
mod leadership;
mod machines;
mod manifests;
mod messages;
mod monitoring;
mod operator_commands;
mod pages;
mod permissions;
mod pod;
mod quoted_page;
mod release;
mod reloads;
mod self_test;
mod serving;
mod story;
mod test_cluster;
mod tutorials;
mod vectors;
mod writes;

use crate::Case;

/// Returns all cases.
pub fn all() -> Vec<Case> {
    [
        self_test::cases(),
        conformance::cases(),
        differential::cases(),
        kubelet_requests::cases(),
        serving::cases(),
        reloads::cases(),
        machines::cases(),
        operator_commands::cases(),
        external_sources::cases(),
        doctor::cases(),
        claims::cases(),
        forgeries::cases(),
        late_evidence::cases(),
        vectors::cases(),
        writes::cases(),
        events::cases(),
        faults::cases(),
        leadership::cases(),
        dry_run::cases(),
        messages::cases(),
        permissions::cases(),
        manifests::cases(),
        monitoring::cases(),
        pages::cases(),
        enabling::cases(),
        chart::cases(),
        canary::cases(),
        pod::cases(),
        release::cases(),
        hardening::cases(),
        hostile_objects::cases(),
        large_metadata::cases(),
        control_planes::cases(),
        dual_stack::cases(),
        kubeadm_ha::cases(),
        story::cases(),
        tutorials::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
