//! `csr-warden bench`: its JSON output has every measurement.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csr-warden"));
    command.env_remove("KUBECONFIG").arg("bench").args(args);
    command.output().unwrap()
}

/// Returns the output of `bench -o json`.
fn measured(args: &[&str]) -> Value {
    let output = bench(&[args, &["-o", "json"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_judge_alone() {
    let found = measured(&["judge", "--nodes", "10,20"]);
    let judged = found["judged"].as_array().unwrap();
    let of = |nodes: u64| judged.iter().filter(|one| one["nodes"] == nodes).count();
    assert!(of(10) >= 5 && of(10) == of(20), "{found}");
    for one in judged {
        assert!(
            one["request"].is_string() && one["verdict"].is_string(),
            "{one}"
        );
        assert!(
            one["median"].as_u64() > Some(0) && one["p99"].as_u64() > Some(0),
            "{one}"
        );
        assert!(one["perSecond"].as_f64() > Some(0.0), "{one}");
    }
}

#[test]
fn end_to_end_on_the_embedded_api_server() {
    let few = ["--rounds=1", "--rate=20", "--seconds=1", "--flood=20"];
    let args = [
        &["sim", "--nodes=5,60", "--connections=1,4"],
        few.as_slice(),
    ]
    .concat();
    let found = measured(&args);
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

/// Without a terminal there is no prompt, and nothing is created.
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
