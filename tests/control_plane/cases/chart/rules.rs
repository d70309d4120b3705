//! The rules of a second release, with values of its own.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use control_plane::assets::Assets;
use control_plane::manifests::{CHART, helm, objects};
use control_plane::monitoring_queries::{of_alerts, of_records};

/// A selector of a job that the values replace, or a limit.
const REPLACED: [&str; 4] = ["job=\"csr-warden\"", "job=\"kubelet\"", "604800", "86400"];

pub async fn configured(assets: Arc<Assets>) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let values = directory.path().join("values.json");
    let kubelets = "job=\"kubelets\", cluster!=\"\"";
    let rule = json!({
        "enabled": true,
        "kubeletSelector": kubelets,
        "certExpirationWarningSeconds": 1_209_600,
        "certExpirationCriticalSeconds": 600,
        "runbookBaseUrl": "https://runbooks.example.org/csr-warden",
        "disabled": ["CsrWardenFlood", "cluster:kubelet_serving_certificates:ratio"],
        "additionalRuleLabels": {"team": "platform"},
        "additionalRuleAnnotations": {"dashboard": "https://grafana.example.org"},
    });
    let text = json!({
        "image": {"repository": "registry.example.org/csr-warden"},
        "monitoring": {"prometheusRule": rule},
    });
    std::fs::write(&values, text.to_string())?;
    let named = format!("--values={}", values.display());
    let args = [
        "template",
        "canary",
        CHART,
        "--namespace=kube-system",
        &named,
    ];
    let output = helm(&assets, None, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    let rendered = objects(std::str::from_utf8(&output.stdout)?)?;
    let rule = rendered.get("PrometheusRule kube-system/canary-csr-warden");
    let groups = &rule.context("PrometheusRule")?["spec"]["groups"];

    let mut names = BTreeSet::new();
    let mut expressions = String::new();
    for group in groups.as_array().context("groups")? {
        for rule in group["rules"].as_array().context("rules")? {
            let expr = rule["expr"].as_str().context("expr")?;
            expressions.push_str(expr);
            let Some(alert) = rule["alert"].as_str() else {
                names.insert(rule["record"].as_str().context("record")?.to_owned());
                continue;
            };
            names.insert(alert.to_owned());
            ensure!(rule["labels"]["team"] == "platform", "{rule}");
            let annotations = &rule["annotations"];
            ensure!(
                annotations["dashboard"] == "https://grafana.example.org",
                "{rule}"
            );
            let runbook = format!(
                "https://runbooks.example.org/csr-warden#{}",
                alert.to_lowercase()
            );
            ensure!(annotations["runbook_url"] == *runbook, "{rule}");
            let job = &rule["labels"]["job"];
            ensure!(
                (alert == "CsrWardenAbsent") == (*job == "canary-csr-warden"),
                "{rule}"
            );
        }
    }
    let mut expected: BTreeSet<String> = of_alerts().into_iter().map(|one| one.of).collect();
    expected.extend(of_records().into_iter().map(|one| one.of));
    expected.remove("CsrWardenFlood");
    expected.remove("cluster:kubelet_serving_certificates:ratio");
    ensure!(names == expected, "{names:?}");
    for old in REPLACED {
        ensure!(
            !expressions.contains(old),
            "{old} is still in {expressions}"
        );
    }
    for new in [
        "job=\"canary-csr-warden\"",
        kubelets,
        " < 1209600",
        " < 600",
    ] {
        ensure!(expressions.contains(new), "no {new} in {expressions}");
    }

    // JSON is YAML.
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, Value::to_string(&json!({"groups": groups})))?;
    let checked = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output()?;
    let stderr = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success(), "{stderr}");
    Ok(())
}
