//! `csr-warden check`: files in, verdict and exit code out.

#[allow(unreachable_pub)]
mod case;
mod evidence;
mod facts;
mod invalid_input;
mod machines;

use case::*;
use serde_json::{Value, json};
use testkit::forge::Recipe;
use testkit::forge::extension::Extension;
use testkit::forge::subject::{NameAttribute, StringType};

#[test]
fn yaml_json_and_lists_of_kubectl_are_read() {
    let case = Case::new();
    let approved = [
        "Approve  csr-x7k2p  system:node:node-1",
        "10.0.0.1",
        "InternalIP",
    ];
    case.check(&["csr.yaml", "nodes.yaml"])
        .assert(APPROVE, &approved);
    case.json("csr.json", &csr(&genuine()));
    case.json("nodes.json", &list(vec![node("node-1", "10.0.0.1")]));
    case.check(&["csr.json", "nodes.json"])
        .assert(APPROVE, &approved);
    case.yaml(
        "all.yaml",
        &list(vec![csr(&genuine()), node("node-1", "10.0.0.1")]),
    );
    case.check(&["all.yaml"]).assert(APPROVE, &approved);
    let documents = ["csr.yaml", "nodes.yaml"]
        .map(|name| std::fs::read_to_string(case.dir.path().join(name)).unwrap())
        .join("---\n");
    case.check_stdin(&["-"], &documents)
        .assert(APPROVE, &approved);
}

#[test]
fn without_its_node_a_request_waits() {
    let case = Case::new();
    case.check(&["csr.yaml"])
        .assert(WAIT, &["Wait  csr-x7k2p", "NodeMissing", "node-1"]);
    case.yaml("nodes.yaml", &node("node-2", "10.0.0.2"));
    case.check(&["csr.yaml", "nodes.yaml"])
        .assert(WAIT, &["NodeMissing"]);
}

#[test]
fn a_settled_or_foreign_request_is_ignored() {
    let case = Case::new();
    let mut settled = csr(&genuine());
    settled["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    case.yaml("csr.yaml", &settled);
    case.check(&["csr.yaml", "nodes.yaml"])
        .assert(WAIT, &["Ignore  csr-x7k2p", "RequestSettled"]);
    let mut foreign = csr(&genuine());
    foreign["spec"]["signerName"] = "example.org/other".into();
    case.yaml("csr.yaml", &foreign);
    case.check(&["csr.yaml", "nodes.yaml"])
        .assert(WAIT, &["Ignore", "SignerOther"]);
}

#[test]
fn forgeries_are_denied_with_every_code() {
    let case = Case::new();
    let recipe = Recipe {
        extensions: Some(vec![Extension::San, Extension::Ca(true)]),
        ..asking(
            &["node-1", "kubernetes.default.SVC"],
            &["10.0.0.1", "169.254.169.254"],
        )
    };
    case.yaml("csr.yaml", &csr(&recipe));
    let codes = [
        "Deny  csr-x7k2p",
        "ExtensionExtra",
        "SanReservedAddress",
        "SanClusterName",
    ];
    case.check(&["csr.yaml", "nodes.yaml"]).assert(DENY, &codes);
}

#[test]
fn of_several_requests_the_worst_counts() {
    let case = Case::new();
    let forged = csr(&asking(&["node-1"], &["127.0.0.1"]));
    let late = csr(&asking(&["node-1"], &["10.0.0.77"]));
    let nodes = node("node-1", "10.0.0.1");
    for (requests, code) in [
        (vec![csr(&genuine()), csr(&genuine())], APPROVE),
        (vec![csr(&genuine()), late.clone()], WAIT),
        (vec![late, csr(&genuine()), forged], DENY),
    ] {
        let count = requests.len();
        case.yaml("all.yaml", &list([requests, vec![nodes.clone()]].concat()));
        let ran = case.check(&["all.yaml", "-o", "json"]);
        ran.assert(code, &[]);
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(shown.as_array().unwrap().len(), count);
    }
}

#[test]
fn bare_pem_has_no_requestor() {
    let case = Case::new();
    case.file("node-1.pem", &genuine().pem());
    let files = ["node-1.pem", "nodes.yaml"];
    case.check(&files)
        .assert_error(&["node-1.pem", "--requestor"]);
    let with = |flags: &[&str]| case.check(&[&files, flags].concat());
    let approved = ["Approve  node-1  system:node:node-1"];
    with(&["--requestor", "node-1"]).assert(APPROVE, &approved);
    with(&["--requestor", "system:node:node-1"]).assert(APPROVE, &approved);
    with(&["--requestor", "node-2"]).assert(DENY, &["CommonNameMismatch"]);
    with(&["--requestor", "system:serviceaccount:a:b"]).assert(WAIT, &["RequestorNotNode"]);
    let masters = ["--group", "system:nodes", "--group", "system:masters"];
    with(&[&["--requestor", "node-1"], &masters[..]].concat())
        .assert(DENY, &["GroupsExtra", "GroupAuthenticatedMissing"]);
    let client = ["--usage", "digital signature", "--usage", "client auth"];
    with(&[&["--requestor", "node-1"], &client[..]].concat())
        .assert(DENY, &["UsageExtra", "UsageMissing"]);
    let args = ["-", "nodes.yaml", "--requestor", "node-1"];
    case.check_stdin(&args, &genuine().pem())
        .assert(APPROVE, &["Approve"]);
}

/// The terminal gets printable text of bounded width, for any content of the request.
#[test]
fn the_readme_shows_what_is_printed() {
    let case = Case::new();
    case.yaml(
        "csr.yaml",
        &csr(&asking(&["node-1"], &["10.0.0.1", "169.254.169.254"])),
    );
    case.yaml("cluster.yaml", &{
        let nodes = vec![node("node-1", "10.0.0.1")];
        list([nodes, items(api_server("10.96.0.1"))].concat())
    });
    let ran = case.check(&["csr.yaml", "cluster.yaml", "--as-new"]);
    ran.assert(DENY, &[]);
    let page = include_str!("../../docs/check.md");
    let sample = format!("```text\n{}```", ran.stdout);
    assert!(
        page.contains(&sample),
        "expected in docs/check.md:\n{sample}"
    );
}

#[test]
fn a_request_of_openssl_is_denied_by_its_string_type() {
    let case = Case::new();
    let utf8 = |name, value| NameAttribute {
        string: StringType::Utf8,
        ..NameAttribute::new(name, value)
    };
    let recipe = Recipe {
        subject: Some(vec![
            vec![utf8("O", "system:nodes")],
            vec![utf8("CN", "system:node:node-1")],
        ]),
        ..genuine()
    };
    case.yaml("csr.yaml", &csr(&recipe));
    case.check(&["csr.yaml", "nodes.yaml"]).assert(
        DENY,
        &["found a UTF8String (kubelets send a", "PrintableString"],
    );
}

#[test]
fn a_policy_is_built_in_or_a_file() {
    let case = Case::new();
    let with = |policy: &str| case.check(&["csr.yaml", "nodes.yaml", "--policy", policy]);
    with("default").assert(APPROVE, &["policy default ("]);
    with("strict").assert(WAIT, &["SanUncorroborated", "policy strict ("]);
    let default = include_str!("../../policies/default.yaml");
    let narrow = default
        .replace(
            "networks: []\n    shared: []\n  sources",
            "networks: [192.168.0.0/16]\n    shared: []\n  sources",
        )
        .replace("name: default", "name: narrow");
    case.file("narrow.yaml", &narrow);
    with("narrow.yaml").assert(WAIT, &["SanOutsidePolicy", "policy narrow ("]);
    let files = ["csr.yaml", "nodes.yaml"];
    ran(case.command(&files).env("CSR_WARDEN_POLICY", "strict")).assert(WAIT, &["policy strict ("]);
}

#[test]
fn verdicts_are_text_json_or_yaml() {
    let case = Case::new();
    case.yaml(
        "csr.yaml",
        &csr(&asking(&["node-1"], &["10.0.0.1", "127.0.0.1"])),
    );
    let with = |format: &str| case.check(&["csr.yaml", "nodes.yaml", "-o", format]);
    with("text").assert(DENY, &["SanReservedAddress: Deny", "SanNotOfNode"]);
    let ran = with("json");
    ran.assert(DENY, &[]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let ran = with("yaml");
    ran.assert(DENY, &[]);
    let yaml: Value = serde_saphyr::from_str(&ran.stdout).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json["verdict"], "Deny");
    assert_eq!(json["request"], "csr-x7k2p");
    assert_eq!(json["requestor"], "system:node:node-1");
    assert_eq!(json["policy"], "default");
    let codes: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["code"])
        .collect();
    assert_eq!(codes, ["SanReservedAddress", "SanNotOfNode"]);
    assert_eq!(json["sans"][1]["san"], "IP:10.0.0.1");
    assert_eq!(json["sans"][1]["vouchedBy"][0], "InternalIP of Node node-1");
    case.check(&["csr.yaml", "-o", "xml"]).assert_usage("xml");
}
