//! All vectors that files can express, judged by `csr-warden check`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use judge::csr::Fingerprint;
use judge::csr::names::San;
use serde_json::{Value, json};
use testkit::cluster::{ProtectedKind, ProtectedSpec, ServedCertificateSpec, before_now};
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::vector::Vector;

/// The minimum number of vectors that files express.
const MIN_CHECKED: usize = 800;

/// Returns true if the vector depends on state that is in no API object:
///
/// - the age of addresses,
/// - the state or an answer of a source,
/// - recently protected names and known keys,
/// - a change of the clock, or the order of watch events.
fn is_beyond_files(vector: &Vector) -> bool {
    let nodes = || vector.nodes.iter().chain(&vector.others);
    let protected = || vector.protected.iter().chain(&vector.also_protected);
    nodes().any(|node| node.stable.is_some())
        || !vector.sources.is_empty()
        || !vector.answers.is_empty()
        || !vector.keys.is_empty()
        || !vector.issued.is_empty()
        || !vector.clock_skew.is_zero()
        || vector.has_seen_order()
        // The API has no object without the text of a request, or with a fraction in its creation
        // time.
        || protected().any(|part| part.kind != ProtectedKind::Service && !part.networks.is_empty())
        || protected().any(|part| part.until.is_some())
}

/// Addresses in files have been reported forever.
fn is_young(vector: &Vector, base: BasePolicy) -> bool {
    let stable_for = base
        .with(vector.policy.as_ref())
        .spec
        .proof
        .addresses_stable_for;
    let mut nodes = vector.nodes.iter().chain(&vector.others);
    nodes.any(|node| node.age < stable_for)
}

/// Writes the vector to files, and returns the arguments of `check`.
fn write(dir: &Path, vector: &Vector, base: BasePolicy) -> Vec<String> {
    let nodes = vector.nodes.iter().chain(&vector.others);
    let mut items: Vec<Value> = nodes
        .map(|node| testkit::api_objects::node(node, before_now(node.age), now()))
        .collect();
    let protected = [vector.protected.as_slice(), &vector.also_protected].concat();
    items.extend(testkit::api_objects::protected_objects(&protected));
    items.push(identities(&protected));
    items.extend(
        vector
            .machines
            .iter()
            .flatten()
            .map(testkit::api_objects::machine),
    );
    items.extend(vector.inventory_file());
    items.extend(vector.namespaces().map(testkit::api_objects::namespace));
    items.insert(0, testkit::api_objects::request(vector));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});

    let mut policy = base.written(vector.policy.as_ref());
    if vector.machines.is_some() {
        policy["spec"]["sources"]["machines"] = testkit::policies::machine_kinds();
    }
    let files = vec![
        ("objects.yaml", list.to_string()),
        ("policy.yaml", policy.to_string()),
    ];
    let mut args = vec!["check".into(), "-o".into(), "json".into()];
    args.extend(["--now".into(), now().to_string()]);
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        if name == "policy.yaml" {
            args.push("--policy".into());
        }
        args.push(path.to_str().unwrap().into());
    }
    args
}

/// The identities of API servers as `explain --save` writes them. No object holds at which address a
/// certificate was read.
fn identities(protected: &[ProtectedSpec]) -> Value {
    let san = |text: &String| San::from_host_text(text).unwrap().to_string();
    let certificate = |spec: &ServedCertificateSpec| {
        let sha256 = Fingerprint::of(spec.der.as_bytes()).to_string();
        match &spec.host {
            Some(host) => json!({"host": san(host), "sha256": sha256}),
            None => json!({"sha256": sha256}),
        }
    };
    let parts = protected.iter();
    let parts = parts.filter(|part| part.kind == ProtectedKind::ApiServerIdentity);
    let facts = parts.map(|part| {
        let mut fact = json!({
            "origin": part.origin, "kind": "ApiServerIdentity", "at": now().to_string(),
            "sans": part.sans.iter().map(san).collect::<Vec<_>>(),
        });
        if let Some(spec) = &part.certificate {
            fact["certificate"] = certificate(spec);
        }
        json!({"protected": fact})
    });
    json!({
        "apiVersion": "csr-warden.dev/v1beta1", "kind": "Facts", "nodesSince": "1970-01-01T00:00:00Z", "facts": facts.collect::<Vec<_>>(),
    })
}

#[test]
fn check_gives_the_verdict_of_every_vector() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = Vector::all();
    let (mut skipped, mut wrong) = (0, Vec::new());
    for vector in &vectors {
        if is_beyond_files(vector) {
            skipped += 1;
            continue;
        }
        for base in BasePolicy::ALL
            .into_iter()
            .filter(|base| !is_young(vector, *base))
        {
            let args = write(dir.path(), vector, base);
            let output = Command::new(env!("CARGO_BIN_EXE_csr-warden"))
                .args(&args)
                .output()
                .unwrap();
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let codes = said["findings"].as_array().cloned().unwrap_or_default();
            let codes: BTreeSet<&str> = codes
                .iter()
                .filter_map(|finding| finding["code"].as_str())
                .collect();
            let expected = vector.expected(base);
            let expected_codes: BTreeSet<&str> =
                expected.codes.iter().map(|code| code.as_str()).collect();
            if said["verdict"] != expected.verdict.as_str() || codes != expected_codes {
                let error = String::from_utf8_lossy(&output.stderr);
                let (row, title, base) = (vector.row, &vector.title, base.as_str());
                wrong.push(format!(
                    "row {row} `{title}`, {base}:\n  expected {expected}\n  found    {} {codes:?} {error}",
                    said["verdict"]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let checked = vectors.len() - skipped;
    assert!(checked >= MIN_CHECKED, "only {checked} checked");
}
