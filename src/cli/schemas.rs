//! JSON Schemas of command output and of written files. Programs rely on them.

use schemars::{Schema, schema_for};

use super::approve::Approved;
use super::audit::{self, Audited};
use super::comparison::Comparison;
use super::doctor;
use super::explain::Explanation;
use super::render::Shown;
use super::snapshot::FactsFile;
use super::status::Statuses;
use super::version::Versions;
use crate::doctor::Report;
use crate::telemetry::decision_log;
use judge::evidence::InventoryFile;
use judge::policy::Policy;

/// Schemas that `csr-warden policy schema` prints, by name, each with its file.
pub fn schemas_of_files() -> [(&'static str, &'static str, Schema); 3] {
    let all = [
        ("policy", "policies/policy.schema.json", schema_for!(Policy)),
        (
            "inventory",
            "policies/inventory.schema.json",
            schema_for!(InventoryFile),
        ),
        (
            "decision",
            "docs/decision.schema.json",
            decision_log::schema(),
        ),
    ];
    all.map(|(name, file, schema)| (name, file, identified(name, schema)))
}

/// Schemas of outputs, by the name of the file in `docs/schemas/`.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let all = [
        ("check", schema_for!(Shown)),
        ("explain", schema_for!(Explanation)),
        ("status", schema_for!(Statuses)),
        ("comparison", schema_for!(Comparison)),
        ("approve", schema_for!(Approved)),
        ("audit", schema_for!(Audited)),
        ("audit-contexts", schema_for!(audit::fleet::Fleet)),
        ("doctor", schema_for!(Report)),
        ("doctor-contexts", schema_for!(doctor::fleet::Fleet)),
        ("facts", schema_for!(FactsFile)),
        ("version", schema_for!(Versions)),
    ];
    all.map(|(name, schema)| (name, identified(name, schema)))
        .into()
}

/// Adds a URN as the schema's `$id`: a URL would name a domain that anyone could register.
fn identified(name: &str, mut schema: Schema) -> Schema {
    schema.insert(
        "$id".to_owned(),
        format!("urn:csr-warden:schema:{name}").into(),
    );
    schema
}
