//! `doctor` and `audit` on several clusters: one report, in which a cluster that is down is named.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::embedded::{Embedded, command, json_of, ran};

/// Two clusters, one that is down, and a kubeconfig with all of them.
struct Fleet {
    _clusters: [Embedded; 2],
    kubeconfig: PathBuf,
    down: String,
}

impl Fleet {
    fn start() -> Fleet {
        let clusters = [Embedded::start(), Embedded::start()];
        clusters[0].node("worker-1", "zone", "10.0.0.1");
        // Nothing listens on a port that was just free.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let down = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let mut all = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a"});
        let entries = [
            ("a", clusters[0].kubeconfig(), None),
            ("down", clusters[0].kubeconfig(), Some(&down)),
            ("b", clusters[1].kubeconfig(), None),
        ];
        for list in ["clusters", "contexts", "users"] {
            let named = entries.iter().map(|(name, kubeconfig, server)| {
                let mut entry = kubeconfig[list][0].clone();
                entry["name"] = (*name).into();
                if list == "contexts" {
                    entry["context"] = json!({"cluster": name, "user": name});
                }
                if let (true, Some(server)) = (list == "clusters", server) {
                    entry["cluster"]["server"] = server.as_str().into();
                }
                entry
            });
            all[list] = named.collect();
        }
        Fleet {
            kubeconfig: clusters[0].file(&all),
            _clusters: clusters,
            down,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.kubeconfig, args)
    }
}

/// The context of each cluster, and whether it has a report.
fn contexts(fleet: &Value) -> Vec<(&str, bool)> {
    let clusters = fleet["clusters"].as_array().unwrap().iter();
    clusters
        .map(|cluster| {
            let has_error = cluster["error"].is_string();
            assert_ne!(has_error, cluster["report"].is_object(), "{cluster}");
            (cluster["context"].as_str().unwrap(), !has_error)
        })
        .collect()
}

#[test]
fn doctor_reports_on_the_others_if_one_is_down() {
    let fleet = Fleet::start();
    let (code, stdout, stderr) = ran(fleet.command(&["doctor", "--all-contexts", "-o", "json"]));
    assert_eq!(code, 2, "{stderr}");
    let report = json_of("doctor-contexts", &stdout);
    let expected = [("a", true), ("down", false), ("b", true)];
    assert_eq!(contexts(&report), expected);
    assert_eq!(report["clusters"][0]["report"]["nodes"], 1);
    assert_eq!(report["clusters"][2]["report"]["nodes"], 0);
    let error = report["clusters"][1]["error"].as_str().unwrap();
    assert!(error.contains(&fleet.down), "{error}");

    let (code, text, _) = ran(fleet.command(&["doctor", "--contexts", "b,down,b"]));
    assert_eq!(code, 2);
    assert!(text.starts_with("== context b\n"), "{text}");
    assert_eq!(text.matches("== context ").count(), 1, "{text}");
    let last = text
        .lines()
        .rev()
        .take_while(|line| !line.starts_with("CONTEXT "))
        .collect::<Vec<_>>();
    assert!(
        last.iter().any(|line| line.starts_with("down      error ")),
        "{text}"
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst_cluster() {
    let fleet = Fleet::start();
    let code = |args: &[&str]| {
        let (code, stdout, stderr) = ran(fleet.command(args));
        assert!((0..=2).contains(&code), "{stdout}\n{stderr}");
        code
    };
    let alone = |context: &str| code(&["doctor", "--context", context]);
    let worst = alone("a").max(alone("b"));
    assert_eq!(code(&["doctor", "--contexts", "a,b"]), worst);
    assert_eq!(code(&["audit", "--contexts", "a,b"]), 0);
    assert_eq!(code(&["audit", "--contexts", "a,down,b"]), 2);
    for args in [
        ["doctor", "--contexts", "a", "--context", "b"].as_slice(),
        &["audit", "--all-contexts", "--contexts", "a"],
        &["audit", "--all-contexts", "--server", "https://127.0.0.1"],
    ] {
        let (code, _, stderr) = ran(fleet.command(args));
        assert!(
            code == 2 && stderr.contains("cannot be used with"),
            "{stderr}"
        );
    }
}

#[test]
fn audit_reports_on_the_others_if_one_is_down() {
    let fleet = Fleet::start();
    let args = ["audit", "--contexts", "a,down,absent", "-o", "yaml"];
    let (code, stdout, stderr) = ran(fleet.command(&args));
    assert_eq!(code, 2, "{stderr}");
    let report: Value = serde_saphyr::from_str(&stdout).unwrap();
    json_of("audit-contexts", &report.to_string());
    let expected = [("a", true), ("down", false), ("absent", false)];
    assert_eq!(contexts(&report), expected);
    let error = report["clusters"][2]["error"].as_str().unwrap();
    assert!(
        error.contains("no context `absent`; found `a`, `down`, `b`"),
        "{error}"
    );
    let (_, text, _) = ran(fleet.command(&["audit", "--all-contexts"]));
    assert!(text.contains("CONTEXT   DENY     WAIT "), "{text}");
}

/// A cluster that accepts connections and never answers does not hold up the others.
#[test]
fn each_cluster_has_a_deadline() {
    let fleet = Fleet::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(&fleet.kubeconfig).unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    std::fs::write(&fleet.kubeconfig, text.replace(&fleet.down, &url)).unwrap();
    let args = [
        "audit",
        "--all-contexts",
        "--context-timeout",
        "1",
        "--request-timeout",
        "60",
    ];
    let (code, stdout, stderr) = ran(fleet.command(&[&args[..], &["-o", "json"]].concat()));
    assert_eq!(code, 2, "{stderr}");
    let report = json_of("audit-contexts", &stdout);
    let error = report["clusters"][1]["error"].as_str().unwrap();
    assert_eq!(error, "not done within 1 s (--context-timeout)");
}
