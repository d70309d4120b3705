//! `csr-warden bench`, as a person or a program runs it: what it prints keeps to its schema, and
//! everything was measured.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csr-warden"));
    command.env_remove("KUBECONFIG").arg("bench").args(args);
    command.output().unwrap()
}

/// Its output in JSON, held against the published schema.
fn measured(args: &[&str], schema: &str) -> Value {
    let output = bench(&[args, &["-o", "json"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = std::fs::read(format!("docs/schemas/{schema}.json")).unwrap();
    let schema = serde_json::from_slice(&schema).unwrap();
    jsonschema::validate(&schema, &found).unwrap();
    found
}

#[test]
fn the_judge_alone() {
    let found = measured(&["judge", "--nodes", "10,20"], "bench-judge");
    let judged = found["judged"].as_array().unwrap();
    let of = |nodes: u64| judged.iter().filter(|one| one["nodes"] == nodes).count();
    assert!(of(10) >= 5 && of(10) == of(20), "{found}");
    assert!(judged.iter().all(|one| one["median"].as_u64() > Some(0)));
}

#[test]
fn the_whole_way_on_the_embedded_api_server() {
    let few = ["--rounds=1", "--rate=20", "--seconds=1", "--flood=20"];
    let args = [
        &["sim", "--nodes=5,60", "--connections=1,4"],
        few.as_slice(),
    ]
    .concat();
    let found = measured(&args, "bench");
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{found}");
    for run in runs {
        let rates = run["bare"].as_array().unwrap();
        assert_eq!(rates.len(), 2, "{found}");
        assert!(
            rates
                .iter()
                .all(|bare| bare["perSecond"].as_f64() > Some(0.0))
        );
        assert!(run["warden"]["perSecond"].as_f64() > Some(0.0), "{found}");
        assert!(run["warden"]["readyAfter"].as_u64() > Some(0), "{found}");
        assert_eq!(run["steady"]["settled"]["count"], 20, "{found}");
        assert_eq!(run["flood"]["settled"]["count"], 20, "{found}");
    }
}

/// Nobody is asked where nobody can answer, and nothing is made.
#[test]
fn a_cluster_is_not_touched_unasked() {
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let text = "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: \
                {server: 'https://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c, user: \
                u}}], users: [{name: u, user: {token: t}}]}";
    std::fs::write(kubeconfig.path(), text).unwrap();
    let path = kubeconfig.path().to_str().unwrap();
    let output = bench(&["cluster", "--kubeconfig", path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("expected --yes"), "{told}");
}
