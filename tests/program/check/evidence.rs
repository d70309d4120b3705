//! Evidence in files, and evidence that is missing.

use serde_json::{Value, json};

use super::case::*;

#[test]
fn the_clusters_own_objects_are_evidence() {
    let case = Case::new();
    case.yaml(
        "csr.yaml",
        &csr(&asking(&["node-1"], &["10.0.0.1", "10.96.0.1"])),
    );
    case.yaml("nodes.yaml", &{
        // Even if it claims the address.
        let mut node = node("node-1", "10.0.0.1");
        let claimed = json!({"address": "10.96.0.1", "type": "InternalIP"});
        node["status"]["addresses"]
            .as_array_mut()
            .unwrap()
            .push(claimed);
        node
    });
    case.check(&["csr.yaml", "nodes.yaml"]).assert(APPROVE, &[]);
    let in_default = json!({"name": "kubernetes", "namespace": "default"});
    case.with_evidence(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": in_default,
        "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]},
    }))
    .assert(DENY, &["SanServiceAddress", "Service default/kubernetes"]);
    case.with_evidence(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]},
    }))
    .assert(DENY, &["SanServiceAddress", "ServiceCIDR"]);
    case.with_evidence(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "endpoints": [{"addresses": ["10.96.0.1"]}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    }))
    .assert(WAIT, &["SanApiServerEndpointUnowned"]);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "", "cluster": {"server": "https://10.96.0.1:6443"}}],
    });
    case.with_evidence(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig.to_string()},
    }))
    .assert(DENY, &["SanApiServerIdentity", "cluster-info"]);
    // The address of another Service is in a ServiceCIDR, or it is not that of a Service.
    case.with_evidence(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.1"},
    }))
    .assert(APPROVE, &[]);
}

#[test]
fn missing_evidence_is_named() {
    let case = Case::new();
    let all = [
        "kubernetes-service",
        "apiserver-endpoints",
        "servicecidrs",
        "cluster-info",
        "apiserver-certificates",
    ];
    let not_given = |files: &[&str]| {
        let ran = case.check(&[files, &["-o", "json"]].concat());
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        let shown = shown
            .pointer("/missingSources")
            .or(shown.pointer("/0/missingSources"));
        let names = shown.unwrap().as_array().unwrap();
        let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        not_given(&["csr.yaml"]),
        [
            &["nodes", "namespaces", "certificatesigningrequests"],
            &all[..]
        ]
        .concat()
    );
    case.yaml("cluster.yaml", &api_server("10.96.0.1"));
    let own = certificate(&["kubernetes"], &["10.0.0.100"]);
    case.file("apiserver.crt", &own);
    // The API server at the endpoint has another certificate.
    let of_another = certificate(&["kubernetes"], &["10.0.0.101"]);
    case.file("another.crt", &of_another);
    let mut second = csr(&genuine());
    second["metadata"]["name"] = "csr-second".into();
    case.yaml("second.yaml", &second);
    let files = ["csr.yaml", "nodes.yaml", "cluster.yaml", "apiserver.crt"];
    assert_eq!(not_given(&files), ["certificatesigningrequests"]);
    let with_another = ["csr.yaml", "nodes.yaml", "cluster.yaml", "another.crt"];
    assert_eq!(
        not_given(&with_another),
        ["certificatesigningrequests", "apiserver-certificates"]
    );
    assert_eq!(not_given(&[&files[..], &["second.yaml"]].concat()), [""; 0]);
    case.check(&["csr.yaml", "nodes.yaml"]).assert(
        APPROVE,
        &[
            "Not checked",
            "the Service default/kubernetes",
            "certificates of all",
        ],
    );
    let ran = case.check(&[&files[..], &["second.yaml"]].concat());
    assert!(!ran.stdout.contains("Not checked"), "{}", ran.stdout);
}

#[test]
fn the_certificate_of_an_api_server_protects_its_names() {
    let case = Case::new();
    case.yaml(
        "csr.yaml",
        &csr(&asking(
            &["node-1", "api.example"],
            &["10.0.0.1", "10.0.0.9"],
        )),
    );
    case.file(
        "apiserver.crt",
        &certificate(&["api.example"], &["10.0.0.9"]),
    );
    let files = ["csr.yaml", "nodes.yaml", "apiserver.crt"];
    let origin = "(certificate in apiserver.crt)";
    let ran = case.check(&files);
    ran.assert(
        WAIT,
        &[
            "SanApiServerIdentityUnowned: Wait",
            "DNS:api.example",
            "IP:10.0.0.9",
        ],
    );
    let unwrapped = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains(origin), "{unwrapped}");
    // Each certificate in the file.
    let two = certificate(&["a.example"], &[]) + &certificate(&["api.example"], &["10.0.0.9"]);
    case.file("apiserver.crt", &two);
    case.check(&files).assert(WAIT, &["DNS:api.example"]);
    case.assert_bad_file(
        "none.crt",
        &certificate(&[], &[]),
        &["without names and addresses"],
    );
    case.assert_bad_file(
        "broken.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &["its certificate cannot be read"],
    );
    for label in ["PRIVATE KEY", "EC PRIVATE KEY"] {
        let key = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        case.assert_bad_file(
            "key.pem",
            &key,
            &["expected a certification request", label],
        );
    }
}

#[test]
fn the_inventory_is_a_file_among_others_or_named() {
    let case = Case::new();
    let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\n";
    let nodes = "nodes: [{name: node-1, addresses: [10.0.0.1]}]\n";
    case.file("inventory.yaml", &format!("{head}{nodes}"));
    let with = |more: &[&str]| {
        let files = ["csr.yaml", "nodes.yaml", "--policy", "inventory"];
        case.check(&[&files, more].concat())
    };
    with(&[]).assert(WAIT, &["an inventory"]);
    with(&["inventory.yaml"]).assert(APPROVE, &["inventory: node-1"]);
    with(&["--inventory", "inventory.yaml"]).assert(APPROVE, &["inventory: node-1"]);
    with(&["--inventory", "nodes.yaml"]).assert_error(&["inventory nodes.yaml", "`Inventory`"]);
}

#[test]
fn as_new_judges_old_and_decided_requests() {
    let case = Case::new();
    let mut old = csr(&genuine());
    old["metadata"]["creationTimestamp"] = "2026-07-23T12:00:00Z".into();
    old["status"] = json!({
        "conditions": [{"type": "Denied", "status": "True"}],
        "certificate": "AAAA",
    });
    case.yaml("csr.yaml", &old);
    let files = ["csr.yaml", "nodes.yaml"];
    case.check(&files)
        .assert(WAIT, &["Ignore", "RequestSettled", "RequestStale"]);
    let as_new = [&files[..], &["--as-new"]].concat();
    case.check(&as_new).assert(APPROVE, &["Approve"]);
    let mut forged = csr(&asking(&["node-1"], &["127.0.0.1"]));
    forged["status"] = old["status"].clone();
    case.yaml("csr.yaml", &forged);
    case.check(&as_new).assert(DENY, &["SanReservedAddress"]);
}

#[test]
fn keys_of_other_requests_are_evidence() {
    let case = Case::new();
    let other = approved_with_key_of_node_1();
    case.yaml("other.yaml", &other);
    case.check(&["other.yaml", "csr.yaml", "nodes.yaml"])
        .assert(DENY, &["KeyOfAnotherNode"]);
}

#[test]
fn an_address_of_another_node_waits() {
    let case = Case::new();
    let mut older = node("node-2", "10.0.0.1");
    older["metadata"]["creationTimestamp"] = "2026-07-23T11:00:00Z".into();
    case.with_evidence(&older)
        .assert(WAIT, &["SanContested", "Node node-2"]);
}
