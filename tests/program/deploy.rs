//! Values in `deploy/` that are repeated elsewhere are the same in both places.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use judge::evidence::reserved_kind;
use serde_json::Value;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).expect(path)
}

#[test]
fn versions_are_the_packages() {
    let chart = yaml("deploy/helm/csr-warden/Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let image = format!("image: \"csr-warden:{}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(read("deploy/base/deployment.yaml").contains(&image));
}

/// Returns the resources, verbs and names of all rules of Roles and ClusterRoles in a file.
fn rules(path: &str) -> Vec<(String, String, Option<String>)> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)).expect(path);
    let listed = |rule: &Value, field: &str| -> Vec<String> {
        let values = rule[field].as_array().into_iter().flatten();
        values.map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut rules = Vec::new();
    for document in documents {
        for rule in document["rules"].as_array().into_iter().flatten() {
            let verbs = listed(rule, "verbs").join(", ");
            for resource in listed(rule, "resources") {
                let name = listed(rule, "resourceNames").pop();
                rules.push((resource, verbs.clone(), name));
            }
        }
    }
    rules
}

/// The table of rights has every rule of the manifests and of the components, and no other.
#[test]
fn every_right_has_its_reason() {
    let page = read("docs/threat-model.md");
    let section = page.split_once("\n## Rights\n").unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeMap<String, (String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells[3..].iter().all(|cell| !cell.is_empty()), "{row}");
            let resource = cells[0].trim_matches('`').to_owned();
            (resource, (cells[1].to_owned(), cells[2].to_owned()))
        })
        .collect();
    let files = [
        "deploy/base/cluster-role.yaml",
        "deploy/base/roles.yaml",
        "deploy/components/cluster-api/rights.yaml",
        "deploy/components/gardener/rights.yaml",
        "deploy/components/metal3/rights.yaml",
        "deploy/components/openshift/rights.yaml",
        "deploy/components/metrics-auth/rights.yaml",
    ];
    let mut granted = BTreeSet::new();
    for (resource, verbs, name) in files.into_iter().flat_map(rules) {
        let (expected, limits) = documented.get(&resource).expect(&resource);
        assert_eq!(verbs, *expected, "{resource}");
        // Its own Lease has the name of the release.
        let name = name.filter(|_| resource != "leases").unwrap_or_default();
        assert!(limits.contains(&name), "{resource}: {limits}");
        granted.insert(resource);
    }
    assert!(documented.keys().eq(&granted), "{granted:?}");
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
