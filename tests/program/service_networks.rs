//! An API server without ServiceCIDR objects, as before Kubernetes 1.33: the policy names the networks of
//! Services, or it is reported what is missing.

use apiserver_sim::{Fault, Faults};
use serde_json::Value;

use crate::background::{Background, line_with};
use crate::embedded::{Embedded, json_of, ran};

const POLICY: &str = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: old}\n\
                      spec: {protected: {serviceNetworks: [10.96.0.0/12]}}\n";

fn old() -> (Embedded, String) {
    let embedded = Embedded::start();
    let faults = Faults::default().with(Fault::NotServed, 1.0, "", "/servicecidrs");
    embedded.server.set_faults(faults);
    embedded.node("worker-1", "zone", "10.0.0.1");
    // An address that the cluster gives to Services.
    embedded.node("worker-2", "zone", "10.96.0.9");
    let policy = embedded.dir.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    (embedded, policy.to_str().unwrap().to_owned())
}

/// The verdict on each Node's request, and the codes of the check of the version.
fn doctor(embedded: &Embedded, args: &[&str]) -> (Vec<(String, String)>, Value) {
    let args = [&["doctor", "-o", "json"], args].concat();
    let (_, stdout, stderr) = ran(embedded.command(&args));
    assert!(!stdout.is_empty(), "{stderr}");
    let report = json_of("doctor", &stdout);
    let items = report["nodeVerdicts"]["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let mut verdicts: Vec<_> = items
        .map(|item| (text(&item["node"]), text(&item["verdict"])))
        .collect();
    verdicts.sort();
    (verdicts, report["checks"][0].clone())
}

/// Sources for which requests wait.
fn unavailable(embedded: &Embedded, args: &[&str]) -> Vec<String> {
    let args = [&["status", "-o", "json"], args].concat();
    let (_, stdout, _) = ran(embedded.command(&args));
    let sources = json_of("status", &stdout)["unavailableSources"].clone();
    let sources = sources.as_array().unwrap().iter();
    sources
        .map(|one| one["source"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn doctor_judges_by_the_networks_of_the_policy() {
    let (embedded, policy) = old();
    let (verdicts, version) = doctor(&embedded, &[]);
    // The verdicts rest on what could be read.
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert_eq!(unavailable(&embedded, &[]), ["servicecidrs"]);
    assert_eq!(version["findings"][0]["code"], "ServerTooOld");
    let remedy = version["findings"][0]["remedy"][1].as_str().unwrap();
    assert!(remedy.contains("serviceNetworks"), "{remedy}");

    let by_policy = ["--policy", &policy];
    assert_eq!(unavailable(&embedded, &by_policy), Vec::<String>::new());
    let (verdicts, version) = doctor(&embedded, &by_policy);
    let found: Vec<&str> = verdicts
        .iter()
        .map(|(_, verdict)| verdict.as_str())
        .collect();
    assert_eq!(found, ["Approve", "Deny"], "{verdicts:?}");
    assert_eq!(version["severity"], "ok", "{version}");
    let observed = version["observed"].as_str().unwrap();
    assert!(
        observed.ends_with("names the networks of Services, 10.96.0.0/12"),
        "{observed}"
    );
}

#[test]
fn the_daemon_says_at_start_what_is_missing() {
    let (embedded, policy) = old();
    let (_daemon, mut log) = Background::logging(embedded.dry_run(&[]));
    let line = line_with(&mut log, "servicecidrs cannot be read: ");
    let why = "the API server has no networking.k8s.io/v1 ServiceCIDR: Kubernetes 1.33 or newer is \
               needed, or the policy's protected.serviceNetworks";
    assert!(line.contains(why), "{line}");
    let by_policy = embedded.dry_run(&["--policy", &policy]);
    let (_daemon, mut log) = Background::logging(by_policy);
    line_with(
        &mut log,
        "the API server has no servicecidrs, the policy replaces them",
    );
}
