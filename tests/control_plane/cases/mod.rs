//! The cases, by what they are about.

mod asked;
mod certificates;
mod conformance;
mod differential;
mod doctor;
mod enabling;
mod events;
mod faults;
mod forgeries;
mod forgery;
mod hands;
mod hardening;
mod harness;
mod kubelet;
mod late;
mod leadership;
mod machines;
mod manifests;
mod messages;
mod monitoring;
mod pages;
mod pod;
mod reloads;
mod rendered;
mod rights;
mod scene;
mod serving;
mod story;
mod vectors;
mod writes;

use crate::Case;

/// Every case there is.
pub fn all() -> Vec<Case> {
    [
        harness::cases(),
        conformance::cases(),
        differential::cases(),
        kubelet::cases(),
        serving::cases(),
        reloads::cases(),
        machines::cases(),
        hands::cases(),
        asked::cases(),
        doctor::cases(),
        forgeries::cases(),
        late::cases(),
        vectors::cases(),
        writes::cases(),
        events::cases(),
        faults::cases(),
        leadership::cases(),
        messages::cases(),
        rights::cases(),
        manifests::cases(),
        monitoring::cases(),
        pages::cases(),
        enabling::cases(),
        rendered::cases(),
        pod::cases(),
        hardening::cases(),
        story::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
