//! The JSON Schemas of what commands print and of the files that they leave: programs rely on these.

use schemars::{Schema, schema_for};

use super::approve::Approved;
use super::audit::Audited;
use super::explain::Explanation;
use super::observations::Observations;
use super::render::Shown;
use super::status::Statuses;
use crate::telemetry::audit;
use judge::evidence::InventoryFile;
use judge::policy::Policy;

/// Each schema that `csr-warden policy schema` prints, by its name there, with its file.
pub fn schemas_of_files() -> [(&'static str, &'static str, Schema); 3] {
    [
        ("policy", "policies/policy.schema.json", schema_for!(Policy)),
        (
            "inventory",
            "policies/inventory.schema.json",
            schema_for!(InventoryFile),
        ),
        ("decision", "docs/decision.schema.json", audit::schema()),
    ]
}

/// Each schema with the name of its file in `docs/schemas/`.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("check", schema_for!(Shown)),
        ("explain", schema_for!(Explanation)),
        ("status", schema_for!(Statuses)),
        ("approve", schema_for!(Approved)),
        ("audit", schema_for!(Audited)),
        ("observations", schema_for!(Observations)),
    ]
}
