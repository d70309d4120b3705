//! Values in `deploy/` that are repeated elsewhere are the same in both places.

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
