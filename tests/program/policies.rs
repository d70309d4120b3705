//! The shipped policies, their JSON Schema, and errors in a policy.

use std::path::Path;

use assert_cmd::Command;
use csr_warden::cli::schemas_of_files;
use judge::evidence::Inventory;
use judge::policy::{self, SHIPPED};
use serde_json::Value;

fn csr_warden(args: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("csr-warden")
        .unwrap()
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn as_json(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_file_ships_under_its_name() {
    let mut files: Vec<String> = std::fs::read_dir("policies")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    files.sort();
    let mut shipped: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    shipped.sort_unstable();
    assert_eq!(files, shipped);
    for (name, text) in SHIPPED {
        let policy = policy::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(policy.metadata.name, *name);
    }
}

/// The head of a policy names its audience, what it approves, and what it protects against.
#[test]
fn every_policy_head_names_its_audience_and_protection() {
    for (name, text) in SHIPPED {
        let head: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .collect();
        assert!(head[0].len() <= 64, "{name}: {}", head[0]);
        for word in ["# For: ", "# Approves: ", "# Protects against: "] {
            let has = head.iter().any(|line| line.starts_with(word));
            assert!(has, "{name} has no line `{word}`");
        }
    }
}

/// `UPDATE_DOCS=1 cargo test --test program` regenerates them.
#[test]
fn the_schemas_are_up_to_date() {
    for (kind, path, schema) in schemas_of_files() {
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &schema).unwrap();
            continue;
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == schema,
            "{path} is stale: run `UPDATE_DOCS=1 cargo test --test program`"
        );
        let (code, printed, _) = csr_warden(&["policy", "schema", kind]);
        assert_eq!((code, printed), (0, schema), "{kind}");
    }
}

#[test]
fn the_schemas_take_what_ships_and_refuse_what_is_misspelt() {
    let schema = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    };
    let of_policy = schema("policies/policy.schema.json");
    for (name, text) in SHIPPED {
        let wrong: Vec<_> = of_policy
            .iter_errors(&as_json(text))
            .map(|e| e.to_string())
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    let inventory = std::fs::read_to_string("examples/inventory.yaml").unwrap();
    assert!(schema("policies/inventory.schema.json").is_valid(&as_json(&inventory)));
    let misspelt =
        "{apiVersion: csr-warden.dev/v1beta1, kind: Policy, metadata: {name: a}, spec: {prof: {}}}";
    assert!(!of_policy.is_valid(&as_json(misspelt)));
    let of_inventory = as_json(&inventory);
    assert!(!of_policy.is_valid(&of_inventory));
}

#[test]
fn errors_name_the_line_and_the_expected_value() {
    let folder = tempfile::tempdir().unwrap();
    let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: mine}\n";
    for (text, expected) in [
        (
            format!("{head}spec:\n  proof:\n    ipAdresses: {{}}\n"),
            "spec.proof.ipAdresses: unknown field `ipAdresses`, expected one of addressesStableFor, \
             ipAddresses, nodeName, dnsNames at line 6, column 5; did you mean `ipAddresses`?",
        ),
        (
            format!("{head}spec:\n  requestor:\n    groups: ['system:masters']\n"),
            "spec.requestor.groups[0]: expected a group that a node can be in besides `system:nodes` and \
             `system:authenticated`, such as `system:bootstrappers`, found `system:masters` at line 6, column 14\n",
        ),
        (
            format!("{head}spec:\n  proof:\n    nodeName: {{allOf: [machine]}}\n"),
            "spec.proof.nodeName.allOf[0]: expected one of Inventory, Machine, MachineExists, DNS, \
             ServingCertificate, Renewal, found `machine` at line 6, column 24; did you mean `Machine`?",
        ),
        (
            format!("{head}spec:\n  proof:\n    nodeName: {{allOf: [Machine]}}\n"),
            "spec.sources.machines: expected a kind of Machine, since spec.proof names Machine, \
             found none\n",
        ),
        (
            format!("{head}spec:\n  proof:\n    nodeName: {{anyOf: [DNS]}}\n"),
            "spec.sources.dns: expected the settings of DNS, since spec.proof names DNS, found none\n",
        ),
        (
            format!(
                "{head}spec:\n  sources: {{servingCertificate: {{}}}}\n  proof:\n    \
                 ipAddresses: {{allOf: [Inventory, Renewal]}}\n"
            ),
            "spec.proof.ipAddresses.allOf: expected only sources that can vouch for a first request, \
             when a node has no certificate yet, found `[Inventory, Renewal]`",
        ),
        (
            format!(
                "{head}spec:\n  sources: {{servingCertificate: {{}}}}\n  proof:\n    \
                 nodeName: {{anyOf: [ServingCertificate, Renewal]}}\n"
            ),
            "spec.proof.nodeName.anyOf: expected also a configured source that can vouch for a first \
             request, when a node has no certificate yet, found `[ServingCertificate, Renewal]`",
        ),
        (
            format!(
                "{head}spec:\n  sources: {{servingCertificate: {{}}}}\n  proof:\n    \
                 dnsNames: {{anyOf: [Machine, ServingCertificate]}}\n"
            ),
            "spec.proof.dnsNames.anyOf: expected also a configured source that can vouch",
        ),
        (
            format!("{head}spec:\n  sources: {{servingCertificate: {{timeout: 6s}}}}\n"),
            "spec.sources.servingCertificate.timeout: expected 100ms to 5s, found `6s` at line 5, column 43\n",
        ),
        (
            format!(
                "{head}spec:\n  sources:\n    machines:\n      - group: a.b\n        kind: M\n\
                 \x20       providerID: spec.id\n"
            ),
            "spec.sources.machines[0].providerID: expected a path such as `.status.nodeRef.name`",
        ),
        (
            format!("{head}spec:\n  sources:\n    machines: [{{group: a.b, kind: M}}]\n"),
            "spec.sources.machines[0]: expected a field `providerID`, since without `nodeName` a \
             Machine is found by its provider ID, found none at line 6, column 16\n",
        ),
        (
            format!(
                "{head}spec:\n  sources:\n    machines:\n      - group: a.b\n        kind: M\n\
                 \x20       nodeName: .spec.name\n        labelSelector: cluster like prod\n"
            ),
            "spec.sources.machines[0].labelSelector: expected a label selector such as `a=b,c in (d, e)`, \
             found `cluster like prod` at line 10, column 24\n",
        ),
        (
            format!(
                "{head}spec:\n  protected:\n    allowed:\n    - {{node: a, sans: [10.0.0.1]}}\n\
                 \x20   - {{node: b, nodes: ControlPlane, sans: [10.0.0.1]}}\n"
            ),
            "spec.protected.allowed[1]: expected either `node` or `nodes`, found both at line 8, \
             column 7\n",
        ),
        (
            format!(
                "{head}spec:\n  protected:\n    allowed:\n    - node: a\n      sans: [10.0.0.1, 'a b']\n"
            ),
            "spec.protected.allowed[0].sans[1]: expected a DNS name or an IP address, found `a b` at line \
             8, column 24\n",
        ),
        (
            format!("{head}spec:\n  protected:\n    allowed: [{{node: a}}]\n"),
            "spec.protected.allowed[0]: expected a field `sans`, found none at line 6, column 15\n",
        ),
        (
            format!("{head}spec:\n  protected:\n    allowed: [{{nodes: All, sans: []}}]\n"),
            "spec.protected.allowed[0].nodes: expected ControlPlane, found `All` at line 6, column 23\n",
        ),
        (
            format!("{head}spec:\n  protected:\n    clusterDomains: [cluster.local, '*.example']\n"),
            "spec.protected.clusterDomains[1]: expected a DNS name without a leading dot or `*`, found \
             `*.example` at line 6, column 37\n",
        ),
        (
            format!("{head}spec:\n  protected:\n    networks: ['::ffff:10.0.0.0/104']\n"),
            "spec.protected.networks[0]: expected its IPv4 form `10.0.0.0/8`, found \
             `::ffff:10.0.0.0/104`",
        ),
        (
            format!("{head}spec:\n  names:\n    networks: ['::ffff:10.1.2.3/128']\n"),
            "spec.names.networks[0]: expected its IPv4 form `10.1.2.3/32`, found",
        ),
        (
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\n\
             patterns: [{nodes: 'a-*', networks: ['::ffff:10.0.0.0/104']}]\n"
                .into(),
            "patterns[0].networks[0]: expected its IPv4 form `10.0.0.0/8`, found `::ffff:10.0.0.0/104`",
        ),
        (
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes: [{name: a, addresses: [x]}]\n".into(),
            "nodes[0].addresses[0]: expected an IP address, found `x` at line 3, column 31\n",
        ),
        (
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes:\n\
             - {name: a, addresses: [10.0.0.1]}\n- {name: b, addresses: [10.0.0.1]}\n"
                .into(),
            "nodes[1].addresses[0]: expected each name and address at one Node only, found IP:10.0.0.1 at a \
             and at b at line 5, column 25\n",
        ),
        (
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\npatterns: [{nodes: 'a-*', dnsSuffix: []}]\n"
                .into(),
            "patterns[0].dnsSuffix: unknown field `dnsSuffix`, expected one of nodes, networks, \
             dnsSuffixes at line 3, column 27; did you mean `dnsSuffixes`?",
        ),
        (
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes:\n- name: 007\n".into(),
            "nodes[0].name: expected a string, found floating point `7.0` at line 4, column 9; quote \
             it to make it a string",
        ),
        (
            format!("{head}spec:\n  names:\n    max: many\n"),
            "spec.names.max: expected a whole number, found string \"many\" at line 6, column 10\n",
        ),
        (
            format!("{head}spec: []\n"),
            "spec: expected a mapping, found a list at line 4, column 7\n",
        ),
        (
            format!("{head}spec:\n  <<: {{names: {{max: 3}}}}\n"),
            "file.yaml: expected no merge key, found `<<` at line 5, column 3\n",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {a: b}\n".into(),
            "kind: expected `Policy` or `Inventory`, found `ConfigMap`",
        ),
        (
            head.replace("v1beta1", "v2") + "spec: {}\n",
            "apiVersion: expected `csr-warden.dev/v1beta1`, found `csr-warden.dev/v2`",
        ),
        (
            head.replace("csr-warden.dev/v1beta1", "csr-warden/v1") + "spec: {}\n",
            "apiVersion: expected `csr-warden.dev/v1beta1`, found `csr-warden/v1`, the name of the \
             same format before 0.1.0: write `apiVersion: csr-warden.dev/v1beta1` instead",
        ),
        (
            "spec: {}\n".into(),
            "kind: expected `Policy` or `Inventory`, found none",
        ),
        (
            format!("{head}spec: {{}}\nspec: {{}}\n"),
            "file.yaml: `spec` is repeated at line 5, column 1\n",
        ),
        ("# nothing\n".into(), "file.yaml: the file is empty\n"),
    ] {
        let file = folder.path().join("file.yaml");
        std::fs::write(&file, &text).unwrap();
        let (code, stdout, stderr) = csr_warden(&["policy", "validate", path(&file)]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{text}");
        assert!(stderr.contains(expected), "{text}\n  {stderr}");
    }
}

/// A missing section has the values of the default policy. `spec` must be present, if only as `{}`:
/// a truncated file must not be laxer than the whole file.
#[test]
fn a_policy_without_a_spec_is_rejected() {
    let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: mine}\n";
    let default = policy::default_policy().unwrap().spec;
    for spec in ["spec: {}\n", "spec: {proof: {}}\n"] {
        assert_eq!(
            policy::parse(&format!("{head}{spec}")).unwrap().spec,
            default,
            "{spec}"
        );
    }
    for spec in ["", "spec:\n"] {
        policy::parse(&format!("{head}{spec}")).unwrap_err();
    }
}

#[test]
fn every_file_is_validated_whatever_is_wrong_with_others() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, "kind: Pod\n").unwrap();
    let good = "policies/strict.yaml";
    let args = ["policy", "validate", "absent.yaml", path(&bad), good];
    let (code, stdout, stderr) = csr_warden(&args);
    assert_eq!(code, 2);
    assert!(
        stdout.starts_with("policies/strict.yaml: policy strict ("),
        "{stdout}"
    );
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].contains("cannot read absent.yaml"), "{stderr}");
    assert!(lines[1].contains("found `Pod`"), "{stderr}");
}

#[test]
fn standard_input_is_validated_as_a_file_is() {
    let validated = |text: &str| {
        let mut command = Command::cargo_bin("csr-warden").unwrap();
        let command = command.args(["policy", "validate", "-"]);
        command.write_stdin(text).assert()
    };
    let said = validated(SHIPPED[0].1).success();
    let said = String::from_utf8(said.get_output().stdout.clone()).unwrap();
    assert!(
        said.starts_with("standard input: policy default ("),
        "{said}"
    );
    let said = validated("").code(2);
    assert_eq!(
        String::from_utf8(said.get_output().stderr.clone()).unwrap(),
        "csr-warden: standard input: the file is empty\n"
    );
}

#[test]
fn a_file_of_another_kind_is_identified_in_the_error() {
    let inventory = std::fs::read_to_string("examples/inventory.yaml").unwrap();
    for (name, text) in SHIPPED {
        let why = Inventory::parse(text).unwrap_err().to_string();
        assert_eq!(why, "kind: expected `Inventory`, found `Policy`", "{name}");
    }
    let why = policy::parse(&inventory).unwrap_err().to_string();
    assert_eq!(why, "kind: expected `Policy`, found `Inventory`");
}

#[test]
fn shipped_policies_can_be_listed_shown_and_validated() {
    let (code, listed, _) = csr_warden(&["policy", "show"]);
    assert_eq!(code, 0);
    for (name, text) in SHIPPED {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{name}");
        assert!(listed.lines().all(|line| line.len() <= 80), "{listed}");
        let (code, shown, _) = csr_warden(&["policy", "show", name]);
        assert_eq!((code, shown.as_str()), (0, *text));
        let file = format!("policies/{name}.yaml");
        let (code, said, _) = csr_warden(&["policy", "validate", &file]);
        assert_eq!(code, 0);
        assert!(
            said.starts_with(&format!("{file}: policy {name} (")),
            "{said}"
        );
    }
    for (command, expected) in [
        (["policy", "show"], "expected one of default, strict"),
        (
            ["run", "--policy"],
            "expected a file, or one of default, strict",
        ),
    ] {
        let refused = |name| {
            let (code, _, stderr) = csr_warden(&[command[0], command[1], name]);
            assert_eq!(code, 2);
            assert!(stderr.contains(expected), "{stderr}");
            stderr
        };
        assert!(refused("strct").contains("; did you mean `strict`?"));
        assert!(!refused("lax").contains("did you mean"));
    }
    let (code, _, stderr) = csr_warden(&["run", "--policy", "policies"]);
    assert_eq!(code, 2);
    assert!(!stderr.contains("one of default"), "{stderr}");
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}
