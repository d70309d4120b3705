//! Machines in files: those that the daemon would not see are left out.

use serde_json::{Value, json};

use super::case::*;

/// A Machine of an ordinary Gardener shoot: a label, a provider ID and no addresses.
fn of_gardener(name: &str) -> Value {
    json!({
        "apiVersion": "machine.sapcloud.io/v1alpha1", "kind": "Machine",
        "metadata": {
            "name": name, "namespace": "shoot--p--s", "labels": {"node": "node-1"},
            "creationTimestamp": "2026-07-24T10:00:00Z",
        },
        "spec": {"providerID": "aws:///eu-central-1/i-1", "class": {"kind": "MachineClass"}},
        "status": {"currentStatus": {"phase": "Running"}, "conditions": []},
    })
}

fn with_provider_id(id: &str) -> Value {
    let mut node = node("node-1", "10.0.0.1");
    node["spec"]["providerID"] = id.into();
    node
}

/// HONEST H60.
#[test]
fn an_ordinary_shoot_of_gardener_is_approved() {
    let case = Case::new();
    case.yaml("nodes.yaml", &with_provider_id("aws:///eu-central-1/i-1"));
    let with = |machines: Vec<Value>| {
        case.yaml("machines.yaml", &list(machines));
        case.check(&[
            "csr.yaml",
            "nodes.yaml",
            "machines.yaml",
            "--policy",
            "gardener",
        ])
    };
    let exists = "shoot--p--s/m1 exists";
    with(vec![of_gardener("m1")]).assert(APPROVE, &[exists]);
    with(vec![]).assert(WAIT, &["MachineMissing"]);
    with(vec![of_gardener("m1"), of_gardener("m2")]).assert(DENY, &["MachineRepeated"]);
    let mut filled = of_gardener("m1");
    filled["status"]["addresses"] = json!([{"type": "InternalIP", "address": "10.0.0.1/24"}]);
    with(vec![filled.clone()]).assert(APPROVE, &[exists]);
    filled["status"]["addresses"][0]["address"] = "10.0.0.9/24".into();
    with(vec![filled]).assert(WAIT, &["SanUncorroborated"]);
    case.yaml("nodes.yaml", &with_provider_id("aws:///eu-central-1/i-2"));
    with(vec![of_gardener("m1")]).assert(DENY, &["MachineProviderIdMismatch"]);
}

/// HONEST H61: the finding does not promise that a provider ID will come.
#[test]
fn a_machine_without_a_provider_id_has_none() {
    let case = Case::new();
    case.yaml("nodes.yaml", &with_provider_id("test://1"));
    case.yaml(
        "machine.yaml",
        &json!({
            "apiVersion": "machine.openshift.io/v1beta1", "kind": "Machine",
            "metadata": {"name": "m1", "namespace": "openshift-machine-api"},
            "spec": {},
            "status": {"nodeRef": {"name": "node-1"}, "addresses": [{"address": "10.0.0.1"}]},
        }),
    );
    let ran = case.check(&[
        "csr.yaml",
        "nodes.yaml",
        "machine.yaml",
        "--policy",
        "openshift",
    ]);
    ran.assert(WAIT, &["MachineIncomplete"]);
    let unwrapped = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains("m1 has no provider ID"), "{unwrapped}");
}

/// HONEST H64.
#[test]
fn machines_that_the_policy_does_not_select_are_left_out() {
    let case = Case::new();
    case.yaml("nodes.yaml", &with_provider_id("test://1"));
    let policy = |of_machines: &str| {
        case.file(
            "policy.yaml",
            &format!(
                "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {{name: mine}}\nspec:\n  sources:\n    \
                 machines:\n      - {{group: a.example, kind: Machine, nodeName: .status.node, \
                 providerID: .spec.id{of_machines}}}\n  proof: {{ipAddresses: {{allOf: [MachineExists]}}}}\n"
            ),
        );
    };
    let machine = |name: &str, namespace: &str, cluster: &str| {
        json!({
            "apiVersion": "a.example/v1", "kind": "Machine",
            "metadata": {"name": name, "namespace": namespace, "labels": {"cluster": cluster}},
            "spec": {"id": "test://1"}, "status": {"node": "node-1"},
        })
    };
    let machines = vec![machine("m1", "one", "prod"), machine("m2", "two", "test")];
    case.yaml("machines.yaml", &list(machines));
    let files = [
        "csr.yaml",
        "nodes.yaml",
        "machines.yaml",
        "--policy",
        "policy.yaml",
    ];
    let check = |of_machines: &str| {
        policy(of_machines);
        case.check(&files)
    };
    check("").assert(DENY, &["MachineRepeated"]);
    for selected in [
        ", namespace: one",
        ", labelSelector: cluster=prod",
        ", labelSelector: 'cluster in (prod, dev)'",
        ", namespace: two, labelSelector: 'cluster!=prod'",
    ] {
        check(selected).assert(APPROVE, &[]);
    }
    for none in [
        ", namespace: three",
        ", namespace: one, labelSelector: cluster=test",
    ] {
        let ran = check(none);
        ran.assert(WAIT, &["MachineMissing"]);
        assert!(
            !ran.stdout.contains("Machines"),
            "they were given: {}",
            ran.stdout
        );
    }
    check(", labelSelector: cluster like prod").assert_error(&[
        "spec.sources.machines[0].labelSelector: ",
        "cluster like prod` at line ",
    ]);
}
