//! The rows of the threat table.

use std::path::Path;

use serde::Deserialize;

use super::read_yaml;

/// One row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub row: u8,
    pub shape: String,
    pub verdict: String,
    /// The reason why no vector can test the row, and the test that does.
    #[serde(default)]
    pub elsewhere: Option<String>,
}

pub fn rows() -> Vec<Row> {
    read_yaml(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/threat_table.yaml"
    )))
}
