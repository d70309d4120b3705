//! Facts that no object holds: what `explain --save` writes beside the objects.

use serde_json::{Value, json};

use super::case::*;
use testkit::forge::Recipe;

fn facts(facts: &[Value]) -> Value {
    json!({
        "apiVersion": "csr-warden.dev/v1beta1", "kind": "Facts",
        "nodesSince": "2026-07-24T11:00:00Z", "facts": facts,
    })
}

#[test]
fn facts_are_evidence_in_any_order_of_files() {
    let case = Case::new();
    let at = "2026-07-24T11:59:00Z";
    let protected = json!({"protected": {
        "origin": "certificate of https://10.0.0.100:6443", "kind": "ApiServerIdentity",
        "sans": ["DNS:api.example", "IP:10.0.0.1"], "at": at,
    }});
    let unprotected = json!({"unprotected": {
        "origin": "certificate of https://10.0.0.100:6443", "at": "2026-07-24T11:59:30Z",
    }});
    let key = Recipe::signing_key(&genuine());
    let sha256 = judge::csr::Fingerprint::of(&key.spki(false).tlv()).to_string();
    let unread = |state: &str| {
        let why = "connection refused";
        json!({state: {"source": "servicecidrs", "why": why, "at": at}})
    };
    for (stated, code, parts) in [
        (vec![], APPROVE, vec!["Approve"]),
        (
            vec![protected.clone()],
            DENY,
            vec!["SanApiServerIdentity", "10.0.0.100:6443"],
        ),
        // By their dates, wherever they are in the file.
        (
            vec![unprotected, protected],
            WAIT,
            vec!["SanRecentlyProtected", "certificate of"],
        ),
        (
            vec![json!({"key": {"sha256": sha256, "node": "node-2", "at": at}})],
            DENY,
            vec!["KeyOfAnotherNode", "node-2"],
        ),
        (
            vec![unread("incomplete")],
            WAIT,
            vec!["SourceUnready", "connection refused"],
        ),
        (vec![unread("failed")], WAIT, vec!["SourceUnready"]),
        // It was complete before, and has not been down for long.
        (
            vec![
                json!({"synced": {"source": "servicecidrs", "at": "2026-07-24T11:00:00Z"}}),
                unread("failed"),
            ],
            APPROVE,
            vec![],
        ),
    ] {
        case.yaml("facts.yaml", &facts(&stated));
        for files in [
            ["facts.yaml", "nodes.yaml", "csr.yaml"],
            ["csr.yaml", "nodes.yaml", "facts.yaml"],
        ] {
            case.check(&files).assert(code, &parts);
        }
    }
}

#[test]
fn addresses_are_as_old_as_the_facts_say() {
    let case = Case::new();
    let check = |since: &str, files: [&str; 3]| {
        let mut facts = facts(&[]);
        facts["nodesSince"] = since.into();
        case.yaml("facts.yaml", &facts);
        case.check(&[&files[..], &["--policy", "strict"]].concat())
    };
    for files in [
        ["facts.yaml", "nodes.yaml", "csr.yaml"],
        ["csr.yaml", "nodes.yaml", "facts.yaml"],
    ] {
        check(NOW, files).assert(WAIT, &["NodeAddressesUnstable"]);
        let stable = check("2026-07-24T11:00:00Z", files);
        assert!(!stable.stdout.contains("Unstable"), "{}", stable.stdout);
    }
}

#[test]
fn the_first_to_ask_with_a_key_owns_it_in_any_order_of_files() {
    let case = Case::new();
    let mut other = approved_with_key_of_node_1();
    other["metadata"]["creationTimestamp"] = "2026-07-24T11:00:00Z".into();
    case.yaml("other.yaml", &other);
    let mut own = csr(&genuine());
    own["status"] = other["status"].clone();
    case.yaml("csr.yaml", &own);
    for files in [["other.yaml", "csr.yaml"], ["csr.yaml", "other.yaml"]] {
        let args = [&files[..], &["nodes.yaml", "--as-new"]].concat();
        case.check(&args).assert(
            DENY,
            &["KeyOfAnotherNode", "already approved for node node-2"],
        );
    }
}

#[test]
fn a_bad_file_of_facts_is_one_sentence() {
    let case = Case::new();
    let head =
        "apiVersion: csr-warden.dev/v1beta1\nkind: Facts\nnodesSince: 2026-07-24T11:00:00Z\n";
    let wrong = format!("{head}facts:\n- synced: {{source: pods, at: 2026-07-24T11:00:00Z}}\n");
    case.assert_bad_file(
        "facts.yaml",
        &wrong,
        &[
            "facts[0].synced.source: expected a source (nodes, ",
            "found `pods` at line 5, column 20",
        ],
    );
    case.assert_bad_file(
        "unknown.yaml",
        &format!("{head}keys: []\n"),
        &["keys: unknown field `keys`, expected one of apiVersion, kind, nodesSince, facts at line 4"],
    );
    // Beside others in a file, without a place in a text that no one has seen.
    let listed = list(vec![facts(&[
        json!({"synced": {"source": "pods", "at": NOW}}),
    ])]);
    case.assert_bad_file("list.yaml", &listed.to_string(), &["found `pods`\n"]);
    case.assert_bad_file(
        "observations.yaml",
        "apiVersion: csr-warden/v1\nkind: Observations\n",
        &[
            "expected `Facts`, found `Observations`, which is no longer supported: run `explain \
             --save` again",
        ],
    );
    case.yaml(
        "both.yaml",
        &list(vec![facts(&[]), node("node-1", "10.0.0.1")]),
    );
    case.check(&["csr.yaml", "both.yaml"]).assert(APPROVE, &[]);
}
