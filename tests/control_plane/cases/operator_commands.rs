//! The operator's commands on a cluster without the daemon: `explain`, `status`, `approve` and
//! `audit`.

mod approve;
mod as_kubectl;
mod audit;
pub mod command;
mod explain;
mod missing_permissions;
mod status;

use crate::{Case, Needs};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("operator_explain", Needs::Nothing, explain::explain),
        Case::new("operator_explain_sources", Needs::Nothing, explain::sources),
        Case::new("operator_flags", Needs::Nothing, as_kubectl::flags),
        Case::new(
            "operator_completion",
            Needs::Nothing,
            as_kubectl::completion,
        ),
        Case::new("operator_status", Needs::Nothing, status::status),
        Case::new("operator_approve", Needs::Nothing, approve::approve),
        Case::new("operator_approve_prompts", Needs::Nothing, approve::asks),
        Case::new("operator_audit", Needs::OwnNetwork, audit::audit),
        Case::new(
            "operator_missing_permissions",
            Needs::Nothing,
            missing_permissions::rights,
        ),
    ]
}
