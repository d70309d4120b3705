//! Generated files of the chart: its page of values, the schemas of policies and inventories in its
//! schema, and copies of files outside of it. `UPDATE_DOCS=1 cargo test --test program` regenerates
//! them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

const CHART: &str = "deploy/helm/csr-warden";
/// The begin of the definitions in the chart's schema. They are its last member.
const DEFINITIONS: &str = "\n  \"$defs\": ";

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).expect(path)
}

/// Asserts that this file of the chart has the expected text. With `UPDATE_DOCS` it is written.
fn is_generated(file: &str, expected: &str) {
    let path = format!("{CHART}/{file}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    assert!(
        read(&path) == expected,
        "{path} is stale: run `UPDATE_DOCS=1 cargo test --test program -- chart::`"
    );
}

/// Helm reads no file outside of a chart, and gives templates no defaults that a release lacks.
#[test]
fn copies_in_the_chart_are_their_originals() {
    for (copy, original) in [
        ("files/values.yaml", "deploy/helm/csr-warden/values.yaml"),
        ("files/rules.yaml", "deploy/monitoring/rules.yaml"),
        ("files/dashboard.json", "deploy/monitoring/dashboard.json"),
    ] {
        is_generated(copy, &read(original));
    }
}

/// The chart's schema contains those of policies and inventories.
#[test]
fn the_charts_schema_has_those_of_policies_and_inventories() {
    let inventory = yaml("policies/inventory.schema.json");
    let mut definitions = yaml("policies/policy.schema.json")["$defs"].clone();
    let more = inventory["$defs"].as_object().unwrap().clone();
    definitions.as_object_mut().unwrap().extend(more);
    let pretty = serde_json::to_string_pretty(&definitions).unwrap();
    let text = read(&format!("{CHART}/values.schema.json"));
    let (own, _) = text.split_once(DEFINITIONS).unwrap();
    let expected = format!("{own}{DEFINITIONS}{}\n}}\n", pretty.replace('\n', "\n  "));
    is_generated("values.schema.json", &expected);

    let chart: Value = serde_json::from_str(&expected).unwrap();
    jsonschema::validator_for(&chart).unwrap();
    for field in ["nodes", "patterns"] {
        let found = &chart["properties"]["inventory"]["properties"][field];
        assert_eq!(*found, inventory["properties"][field]);
    }
}

/// A value of the chart.
struct Documented {
    description: String,
    /// As JSON; empty for one that only an umbrella chart sets.
    default: String,
}

/// Collects the values of a schema by their paths. An object without properties is one value.
fn values(path: &str, schema: &Value, default: &Value, into: &mut BTreeMap<String, Documented>) {
    let description = schema["description"].as_str().unwrap_or_default();
    assert!(
        path.is_empty() || description.ends_with('.'),
        "{path}: a description is a sentence, found `{description}`"
    );
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            values(&format!("{path}{dot}{name}"), schema, &default[name], into);
        }
        return;
    }
    let default = if default.is_null() {
        String::new()
    } else {
        format!("`{default}`")
    };
    let value = Documented {
        description: description.replace('|', "\\|"),
        default,
    };
    into.insert(path.to_owned(), value);
}

/// Returns the paths of all values in `values.yaml`.
fn leaves(path: &str, value: &Value, schema: &Value, into: &mut Vec<String>) {
    match (value.as_object(), schema["properties"].as_object()) {
        (Some(fields), Some(properties)) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                let schema = properties.get(name).unwrap_or(&Value::Null);
                leaves(&format!("{path}{dot}{name}"), value, schema, into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}

#[test]
fn the_charts_page_lists_every_value_with_its_default() {
    let schema = yaml(&format!("{CHART}/values.schema.json"));
    let defaults = yaml(&format!("{CHART}/values.yaml"));
    jsonschema::validate(&schema, &defaults).unwrap();
    let mut documented = BTreeMap::new();
    values("", &schema, &defaults, &mut documented);

    let mut set = Vec::new();
    leaves("", &defaults, &schema, &mut set);
    for path in &set {
        assert!(documented.contains_key(path), "{path} is not in the schema");
    }
    for (path, value) in &documented {
        let ours = path != "enabled" && !path.starts_with("global.");
        assert_eq!(!value.default.is_empty(), ours, "{path}");
    }

    let home = yaml(&format!("{CHART}/Chart.yaml"))["home"].clone();
    let home = home.as_str().unwrap();
    let mut page = format!(
        "# Values of the chart\n\n\
         csr-warden approves the serving certificate requests of kubelets on proof: \
         [how to install it]({home}/blob/main/docs/install.md).\n\n\
         This page is generated from `values.schema.json` and `values.yaml`. Unknown or contradictory values are \
         rejected.\n\n\
         | value | default | meaning |\n|--|--|--|\n",
    );
    for (path, value) in &documented {
        let (default, meaning) = (&value.default, &value.description);
        writeln!(page, "| `{path}` | {default} | {meaning} |").unwrap();
    }
    is_generated("README.md", &page);
}

/// The address of the project comes from Cargo.toml.
#[test]
fn the_charts_addresses_are_those_of_the_package() {
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    let repository = env!("CARGO_PKG_REPOSITORY");
    let begins = |value: &Value| {
        let address = value.as_str().unwrap();
        assert!(address.starts_with(repository), "{address}");
    };
    begins(&chart["home"]);
    begins(&chart["icon"]);
    begins(&chart["sources"][0]);
    begins(&chart["maintainers"][0]["url"]);
    let annotations = &chart["annotations"];
    assert_eq!(
        annotations["artifacthub.io/license"],
        env!("CARGO_PKG_LICENSE")
    );
    let links = annotations["artifacthub.io/links"].as_str().unwrap();
    let links: Value = serde_saphyr::from_str(links).unwrap();
    for link in links.as_array().unwrap() {
        begins(&link["url"]);
        let (_, file) = link["url"].as_str().unwrap().split_once("/main/").unwrap();
        assert!(Path::new(file).exists(), "{file}");
    }
    let (_, icon) = chart["icon"]
        .as_str()
        .unwrap()
        .split_once("/main/")
        .unwrap();
    assert!(Path::new(icon).exists(), "{icon}");
}
