//! The rows of the table of honest nodes.

use std::path::Path;

use serde::Deserialize;

use super::read_yaml;

/// One row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HonestRow {
    /// The number, without its `H`.
    pub row: u8,
    pub group: String,
    /// The node, or its situation.
    pub node: String,
    pub verdict: String,
    /// The configuration that the node needs.
    #[serde(default)]
    pub configure: Option<String>,
    /// The tests that show the row where a vector cannot, such as restarts and clocks.
    #[serde(default)]
    pub elsewhere: Vec<TestCase>,
}

/// A test that is no vector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// The file, from the root of the repository.
    pub file: String,
    /// The function, or the quoted title of the case.
    pub case: String,
}

impl TestCase {
    /// Returns true if the file has the case.
    pub fn exists(&self) -> bool {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(&self.file);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let as_title = format!("\"{}\"", self.case);
        text.contains(&format!("fn {}(", self.case)) || text.contains(&as_title)
    }
}

pub fn rows() -> Vec<HonestRow> {
    read_yaml(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/honest_table.yaml"
    )))
}
