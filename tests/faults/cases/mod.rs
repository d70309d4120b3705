//! The faults, by where they are. Those that take longest come first, as they run side by side.

mod answers;
mod clocks;
mod connections;
mod credentials;
mod files;
mod leaders;
mod load;
mod own_clocks;
mod real;
mod refusals;
mod watches;

use crate::Case;

/// Every case there is.
pub fn all() -> Vec<Case> {
    [
        connections::cases(),
        leaders::cases(),
        answers::cases(),
        watches::cases(),
        clocks::cases(),
        own_clocks::cases(),
        files::cases(),
        load::cases(),
        real::cases(),
        refusals::cases(),
        credentials::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
