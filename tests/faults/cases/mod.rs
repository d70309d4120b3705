//! The fault cases by component. The longest come first, as cases run concurrently.

mod budgets;
mod changing_node;
mod clocks;
mod connections;
mod credentials;
mod daemon_clocks;
mod events;
mod files;
mod http_clients;
mod leadership;
mod load;
mod output;
mod real_control_plane;
mod responses;
mod server_rejections;
mod watches;

use crate::Case;

/// Returns all cases.
pub fn all() -> Vec<Case> {
    [
        connections::cases(),
        leadership::cases(),
        responses::cases(),
        watches::cases(),
        clocks::cases(),
        daemon_clocks::cases(),
        files::cases(),
        output::cases(),
        http_clients::cases(),
        load::cases(),
        budgets::cases(),
        events::cases(),
        changing_node::cases(),
        real_control_plane::cases(),
        server_rejections::cases(),
        credentials::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
