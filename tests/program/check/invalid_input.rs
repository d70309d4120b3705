//! Error messages for invalid input.

use assert_cmd::Command;

use super::case::*;

#[test]
fn a_time_is_that_of_rfc_3339() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csr-warden"));
    ran(command.args(["check", "--now", "yesterday", "csr.yaml"]))
        .assert_usage("such as `2026-07-24T12:00:00Z`");
}

#[test]
fn invalid_policies_are_reported_in_one_sentence() {
    let case = Case::new();
    let with = |policy: &str| case.check(&["csr.yaml", "nodes.yaml", "--policy", policy]);
    with("absent.yaml").assert_error(&["absent.yaml", "expected a file, or one of"]);
    let default = include_str!("../../../policies/default.yaml");
    for (name, text, expected) in [
        ("shape.yaml", "a: [".to_owned(), "shape.yaml"),
        (
            "field.yaml",
            default.replace("maxAge:", "maxAges:"),
            "spec.request.maxAges: unknown field",
        ),
        (
            "value.yaml",
            default.replace("dnsOnly: Wait", "dnsOnly: Perhaps"),
            "spec.names.dnsOnly: expected one of Allow, Wait, found `Perhaps`",
        ),
        (
            "kind.yaml",
            default.replace("kind: Policy", "kind: Node"),
            "expected `Policy`",
        ),
        (
            "network.yaml",
            default.replace(
                "networks: []\n    shared",
                "networks: [10.0.0.1]\n    shared",
            ),
            "spec.names.networks[0]: expected a network such as `10.0.0.1/32`, found `10.0.0.1` at line ",
        ),
        (
            "no-network.yaml",
            default.replace(
                "networks: []\n    endpoint",
                "networks: [\"fd00::1\", here]\n    endpoint",
            ),
            "spec.protected.networks[0]: expected a network such as `fd00::1/128`, found `fd00::1` at line ",
        ),
        (
            "duration.yaml",
            default.replace("addressesStableFor: 0s", "addressesStableFor: 30"),
            "spec.proof.addressesStableFor: expected a duration such as `15m` or `8760h`, found `30` at line ",
        ),
    ] {
        case.file(name, &text);
        with(name).assert_error(&[name, expected]);
    }
}

#[test]
fn invalid_files_are_reported_in_one_sentence() {
    let case = Case::new();
    case.check(&["absent.yaml"])
        .assert_error(&["absent.yaml", "cannot be read"]);
    case.check(&["nodes.yaml"])
        .assert_error(&["no CertificateSigningRequest"]);
    case.check(&[]).assert_usage("<FILE>");
    case.assert_bad_file("broken.yaml", "a: [\nb: {", &["expected YAML, JSON or PEM"]);
    case.assert_bad_file(
        "broken.json",
        "{\"kind\": \"Node\",",
        &["expected YAML, JSON or PEM"],
    );
    case.assert_bad_file("empty.txt", "hello", &["kind ``"]);
    case.assert_bad_file(
        "cluster-info.yaml",
        "kind: ConfigMap\nmetadata: {namespace: kube-public, name: cluster-info}\n\
         data: {kubeconfig: \"clusters: 7\"}\n",
        &["ConfigMap kube-public/cluster-info: its kubeconfig: "],
    );
    case.assert_bad_file(
        "pod.yaml",
        "kind: Pod\n",
        &["CertificateSigningRequest", "`Pod`"],
    );
    case.assert_bad_file("list.yaml", "kind: List\n", &["items"]);
    let node = |rest: &str| format!("kind: Node\nmetadata: {{name: node-1}}\n{rest}\n");
    case.assert_bad_file("status.yaml", &node("status: 7"), &["Node `node-1`"]);
    let no_name = "kind: Node\nmetadata: {name: A_B}\nstatus: {}\n";
    case.assert_bad_file("name.yaml", no_name, &["Node `A_B`"]);
    let no_spec = "kind: CertificateSigningRequest\nmetadata: {name: csr-1}\n";
    case.assert_bad_file(
        "spec.yaml",
        no_spec,
        &["CertificateSigningRequest `csr-1`", "spec"],
    );
    let base64 = format!("{no_spec}spec: {{request: '*'}}\n");
    case.assert_bad_file(
        "base64.yaml",
        &base64,
        &["CertificateSigningRequest `csr-1`: spec.request is not base64\n"],
    );
    case.assert_bad_file(
        "policy.yaml",
        include_str!("../../../policies/strict.yaml"),
        &["found a Policy: name it with --policy"],
    );
    case.assert_bad_file(
        "twice.yaml",
        "kind: Node\nkind: Node\n",
        &["expected YAML, JSON or PEM: `kind` is repeated at line 2, column 1\n"],
    );
    case.file("latin1.yaml", "");
    std::fs::write(case.dir.path().join("latin1.yaml"), b"kind: \xe9\n").unwrap();
    case.check(&["latin1.yaml"])
        .assert_error(&["latin1.yaml", "cannot be read"]);
    let directory = case.dir.path().join("directory");
    std::fs::create_dir(&directory).unwrap();
    case.check(&["directory"])
        .assert_error(&["directory", "cannot be read"]);
}

#[test]
fn hostile_text_is_shown_harmlessly() {
    let case = Case::new();
    let long = "a".repeat(60) + "." + &"b".repeat(60);
    case.yaml(
        "csr.yaml",
        &csr(&asking(&["node-1", &long, "x\u{1b}[2Jy"], &["10.0.0.1"])),
    );
    let ran = case.check(&["csr.yaml", "nodes.yaml"]);
    ran.assert(DENY, &[]);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}
