//! Findings name the field of the policy that would allow a thing, and only where it would.

use testkit::cluster::NodeSpec;
use testkit::forge::Recipe;
use testkit::policies::BasePolicy;
use testkit::strategies::address;
use testkit::vector::Vector;

fn details(vector: &Vector) -> String {
    let judged = vector.judgment(BasePolicy::Default);
    let details: Vec<&str> = judged.findings.iter().map(|f| f.detail.as_str()).collect();
    details.join("\n")
}

/// A request for the last of so many addresses of the Node.
fn last_of(count: usize) -> Vector {
    let mut vector = Vector::genuine();
    let ips: Vec<String> = (0..count)
        .map(|index| format!("10.0.{}.{}", index / 200, index % 200 + 1))
        .collect();
    let asked = ips.last().unwrap().parse().unwrap();
    vector.request = Recipe::genuine("node-1", &["node-1"], &[asked]);
    vector.nodes = vec![NodeSpec {
        addresses: ips.iter().map(|ip| address("InternalIP", ip)).collect(),
        ..NodeSpec::default()
    }];
    vector
}

#[test]
fn an_address_beyond_the_limit_names_the_limit() {
    for (count, part) in [
        (100, "names.max considers no more"),
        (256, "names.max considers no more"),
    ] {
        let details = details(&last_of(count));
        assert!(details.contains(part), "{count}: {details}");
    }
    let mut other = last_of(100);
    other.request = Recipe::genuine("node-1", &["node-1"], &["10.9.9.9".parse().unwrap()]);
    let details_of_other = details(&other);
    assert!(
        details_of_other.contains("IP:10.9.9.9 is not among the addresses of Node node-1"),
        "{details_of_other}"
    );
    let more = details(&last_of(300));
    assert!(more.contains("and no policy considers more"), "{more}");
}

#[test]
fn a_name_like_a_service_names_both_fields() {
    let mut vector = Vector::genuine();
    vector.request = Recipe::genuine(
        "node-1",
        &["node-1", "registry.prod"],
        &["10.0.0.1".parse().unwrap()],
    );
    vector.nodes[0]
        .addresses
        .push(address("InternalDNS", "registry.prod"));
    vector.namespaces = vec!["prod".into()];
    let details = details(&vector);
    for part in ["registry.prod", "protected.allowed", "names.serviceLike"] {
        assert!(details.contains(part), "{details}");
    }
}
