//! The cases, by what they are about.

mod asked;
mod certificates;
mod conformance;
mod differential;
mod faults;
mod forgeries;
mod forgery;
mod harness;
mod kubelet;
mod late;
mod leadership;
mod machines;
mod manifests;
mod messages;
mod reloads;
mod rights;
mod scene;
mod serving;
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
        asked::cases(),
        forgeries::cases(),
        late::cases(),
        vectors::cases(),
        writes::cases(),
        faults::cases(),
        leadership::cases(),
        messages::cases(),
        rights::cases(),
        manifests::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
