//! The published JSON Schemas of outputs are those of the program. Cases on a real control plane
//! validate real output.

use std::collections::BTreeSet;

use csr_warden::cli::schemas;

/// The directory, which may hold other schemas too.
const FOLDER: &str = "docs/schemas";

/// `UPDATE_DOCS=1 cargo test --test program` regenerates them.
#[test]
fn the_published_schemas_are_up_to_date() {
    let mut expected = BTreeSet::new();
    for (name, schema) in schemas() {
        let file = format!("{name}.json");
        let path = format!("{FOLDER}/{file}");
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(FOLDER).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{path} is stale: run `UPDATE_DOCS=1 cargo test --test program`"
        );
        jsonschema::validator_for(&serde_json::to_value(&schema).unwrap()).unwrap();
        expected.insert(file);
    }
    let found: BTreeSet<String> = std::fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(found.is_superset(&expected), "{found:?}");
}
