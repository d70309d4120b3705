//! The mixin. It renders the same rules and dashboard, and alerts fire with another configuration too.

use std::process::Command;

use control_plane::assets::jsonnet;
use control_plane::monitoring_queries::dashboard;
use serde_json::{Value, json};

use super::{FOLDER, promtool, read};

const OTHER: &str = r#"{
  _config+:: {
    clusterLabel: 'site',
    csrWardenJob: 'warden',
    kubeletSelector: 'job="nodes"',
    certExpirationWarningSeconds: 7000,
    certExpirationCriticalSeconds: 1000,
    runbookBaseUrl: 'https://runbooks.example.org/csr-warden.html',
  },
}"#;

/// Evaluates an expression with the variable `mixin`. Returns nothing if `jsonnet` cannot be built.
fn evaluated(expr: &str) -> Option<Value> {
    let program = match jsonnet() {
        Ok(program) => program,
        Err(why) if std::env::var_os("CI").is_some() => panic!("{why}"),
        // No Go, or no network to fetch the module.
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let code = format!("local mixin = import 'mixin/mixin.libsonnet'; {expr}");
    let output = Command::new(program)
        .args(["-e", &code])
        .current_dir(FOLDER)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_mixin_is_the_rules_and_the_dashboard() {
    let all = "mixin.prometheusAlerts.groups + mixin.prometheusRules.groups";
    let Some(found) = evaluated(&format!(
        "{{groups: {all}, dashboards: mixin.grafanaDashboards}}"
    )) else {
        return;
    };
    let rules: Value = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    assert_eq!(found["groups"], rules["groups"]);
    assert_eq!(found["dashboards"], json!({"csr-warden.json": dashboard()}));
}

/// The tests of the rules hold after the same change of configuration.
#[test]
fn a_configured_mixin_fires_as_the_rules_do() {
    let all = "all.prometheusAlerts.groups + all.prometheusRules.groups";
    let Some(found) = evaluated(&format!(
        "local all = mixin + {OTHER}; {{groups: {all}, dashboards: all.grafanaDashboards}}"
    )) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    // JSON is YAML.
    file(
        "rules.yaml",
        &json!({"groups": found["groups"]}).to_string(),
    );
    let mut tests = read("rules.test.yaml");
    let runbooks = format!("runbook_url: {}#", super::RUNBOOKS_URL);
    for (from, to) in [
        ("cluster=", "site="),
        ("cluster: ", "site: "),
        ("job=\"csr-warden\"", "job=\"warden\""),
        ("job: csr-warden", "job: warden"),
        ("job=\"kubelet\"", "job=\"nodes\""),
        (
            &runbooks,
            "runbook_url: https://runbooks.example.org/csr-warden.html#",
        ),
    ] {
        assert!(tests.contains(from), "{from}");
        tests = tests.replace(from, to);
    }
    // Other limits of a lifetime have a test of their own.
    let mut tests: Value = serde_saphyr::from_str(&tests).unwrap();
    let list = tests["tests"].as_array_mut().unwrap();
    let before = list.len();
    list.retain(|test| {
        !test
            .to_string()
            .contains("CsrWardenKubeletCertificateExpires")
    });
    assert_eq!(list.len(), before - 3);
    list.push(lifetimes());
    file("rules.test.yaml", &tests.to_string());
    promtool(directory.path(), &["check", "rules", "rules.yaml"]);
    promtool(directory.path(), &["test", "rules", "rules.test.yaml"]);

    let text = found.to_string();
    for old in [
        "cluster=~",
        "by (cluster",
        "(cluster)",
        "{{cluster}}",
        ", cluster)",
        "$labels.cluster",
        "job=\\\"csr-warden\\\"",
        "job=\\\"kubelet\\\"",
        "604800",
        "86400",
    ] {
        assert!(!text.contains(old), "{old} is still there");
    }
}

/// A test of the configured limits.
fn lifetimes() -> Value {
    let series = |node: &str, values: &str| {
        let name = "kubelet_certificate_manager_server_ttl_seconds";
        let labels =
            format!("{{job=\"nodes\", site=\"a\", node=\"{node}\", instance=\"{node}:10250\"}}");
        json!({"series": format!("{name}{labels}"), "values": values})
    };
    json!({
        "name": "lifetimes of minutes",
        "interval": "1m",
        "input_series": [series("n1", "7000x30"), series("n2", "6999x30"), series("n3", "999x30")],
        "promql_expr_test": [
            {
                "expr": "count by (alertname, node) (ALERTS{alertstate=\"firing\", node!=\"\"})",
                "eval_time": "20m",
                "exp_samples": [
                    {"labels": "{alertname=\"CsrWardenKubeletCertificateExpires\", node=\"n3\"}", "value": 1},
                    {"labels": "{alertname=\"CsrWardenKubeletCertificateExpiresSoon\", node=\"n2\"}", "value": 1},
                    {"labels": "{alertname=\"CsrWardenKubeletCertificateExpiresSoon\", node=\"n3\"}", "value": 1},
                ],
            },
        ],
    })
}
