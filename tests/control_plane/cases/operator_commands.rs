//! The commands of an operator, on a cluster without the daemon: `explain`, `status`, `approve` and
//! `audit`.

mod approve;
mod audit;
mod command;
mod explain;
mod missing_permissions;
mod status;

use crate::{Case, Needs};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("hands_explain", Needs::Nothing, explain::explain),
        Case::new("hands_explain_sources", Needs::Nothing, explain::sources),
        Case::new("hands_status", Needs::Nothing, status::status),
        Case::new("hands_approve", Needs::Nothing, approve::approve),
        Case::new("hands_approve_asks", Needs::Nothing, approve::asks),
        Case::new("hands_audit", Needs::OwnNetwork, audit::audit),
        Case::new("hands_rights", Needs::Nothing, missing_permissions::rights),
    ]
}
