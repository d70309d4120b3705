//! Values in `deploy/` that are repeated elsewhere are the same in both places.

use std::collections::BTreeMap;
use std::path::Path;

use judge::evidence::reserved_kind;
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).expect(path)
}

fn leaves(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) if path != "resources" => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{name}"), value, into);
            }
        }
        _ => {
            into.insert(path.to_owned(), value.clone());
        }
    }
}

#[test]
fn the_charts_page_lists_every_value_with_its_default() {
    let mut values = BTreeMap::new();
    leaves("", &yaml("deploy/helm/csr-warden/values.yaml"), &mut values);
    let page = read("deploy/helm/csr-warden/README.md");
    let listed: BTreeMap<String, Value> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"))
        .filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once("` | ")?.0)))
        .map(|(name, default)| (name, serde_json::from_str(default).unwrap()))
        .collect();
    assert_eq!(listed, values);
}

/// The chart's schema contains those of policies and inventories.
#[test]
fn the_charts_schema_has_those_of_policies_and_inventories() {
    let chart = yaml("deploy/helm/csr-warden/values.schema.json");
    let inventory = yaml("policies/inventory.schema.json");
    let mut expected = yaml("policies/policy.schema.json")["$defs"].clone();
    let more = inventory["$defs"].as_object().unwrap().clone();
    expected.as_object_mut().unwrap().extend(more);
    assert_eq!(chart["$defs"], expected);
    for field in ["nodes", "patterns"] {
        let found = &chart["properties"]["inventory"]["properties"][field];
        assert_eq!(*found, inventory["properties"][field]);
    }
}

#[test]
fn versions_are_the_packages() {
    let chart = yaml("deploy/helm/csr-warden/Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let image = format!("image: csr-warden:{}\n", env!("CARGO_PKG_VERSION"));
    assert!(read("deploy/base/deployment.yaml").contains(&image));
}

/// The chart's copy of the alerts, because Helm reads no file outside of a chart.
#[test]
fn rules_of_the_chart_are_those_of_monitoring() {
    let copy = read("deploy/helm/csr-warden/files/rules.yaml");
    assert_eq!(copy, read("deploy/monitoring/rules.yaml"));
}

/// The policy's networks are among those that the judge reserves.
#[test]
fn hardening_knows_reserved_addresses_of_the_judge() {
    let policy = read("deploy/hardening/reserved-addresses.yaml");
    let list = policy.split_once("- name: reserved").unwrap().1;
    let list = list.split_once('[').unwrap().1.split_once(']').unwrap().0;
    let networks: Vec<ipnet::IpNet> = list
        .split(',')
        .map(|network| network.trim().trim_matches('\'').parse().unwrap())
        .collect();
    for network in &networks {
        assert!(reserved_kind(network.network()).is_some(), "{network}");
        assert!(reserved_kind(network.broadcast()).is_some(), "{network}");
    }
    for address in [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "127.0.0.1",
        "0.0.0.1",
        "169.254.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "64:ff9b::1",
        "64:ff9b:1::1",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
    ] {
        let address = address.parse().unwrap();
        assert!(reserved_kind(address).is_some(), "{address}");
        assert!(
            networks.iter().any(|one| one.contains(&address)),
            "{address}"
        );
    }
}
