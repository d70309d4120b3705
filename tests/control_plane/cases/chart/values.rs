//! Effects of the values of the chart: each one changes the rendered objects.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{apply, operator};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::chart;

/// Returns values of the chart that all differ from the default.
fn other_values() -> Value {
    let monitor = json!({
        "enabled": true,
        "labels": {"release": "p"},
        "interval": "15s",
        "tlsConfig": {"insecureSkipVerify": true},
        "authorization": {"credentials": {"name": "token", "key": "token"}},
    });
    let rule = json!({
        "enabled": true,
        "labels": {"release": "p"},
        "job": "of-another-monitor",
        "kubeletSelector": "job=\"kubelets\"",
        "certExpirationWarningSeconds": 3600,
        "certExpirationCriticalSeconds": 600,
        "runbookBaseUrl": "https://runbooks.example.org/csr-warden",
        "disabled": ["CsrWardenFlood"],
        "additionalRuleLabels": {"team": "platform"},
        "additionalRuleAnnotations": {"dashboard": "https://grafana.example.org"},
    });
    json!({
        "image": {
            "repository": "registry.example.org/csr-warden",
            "tag": "v9",
            "digest": "",
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "warden",
        "fullnameOverride": "warden-of-kubelets",
        "replicas": 2,
        "placement": "AnyNode",
        "bootstrap": {"enabled": true, "host": "::", "port": 10280},
        "apiServer": {"host": "192.0.2.1", "port": 8443},
        "policy": {"name": "mine", "spec": {"names": {"networks": ["10.0.0.0/16"]}}},
        "inventory": {
            "nodes": [{"name": "n1", "addresses": ["10.0.0.1"]}],
            "patterns": [{"nodes": "pool-*", "networks": ["10.0.1.0/24"]}],
        },
        "enforcement": "DryRun",
        "machines": ["metal3"],
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "CSR_WARDEN_CONCURRENCY", "value": "8"}],
        "extraVolumes": [{"name": "far", "secret": {"secretName": "far"}}],
        "extraVolumeMounts": [{"name": "far", "mountPath": "/far", "readOnly": true}],
        "podAnnotations": {"example.org/a": "b"},
        "podLabels": {"example.org/c": "d"},
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"example.org/pool": "trusted"},
        "tolerations": [{"key": "example.org/pool", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}},
        ]}},
        "runAsUser": 1000,
        "resources": {"requests": {"cpu": "20m"}, "limits": {"memory": "128Mi"}},
        "service": {"enabled": false, "annotations": {"example.org/e": "f"}},
        "networkPolicy": {
            "enabled": false,
            "egressPorts": [{"protocol": "UDP", "port": 53}],
            "scrapers": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        },
        "metrics": {"tls": {"secretName": "tls"}, "auth": {"enabled": true}},
        "monitoring": {
            "serviceMonitor": monitor,
            "podMonitor": monitor,
            "prometheusRule": rule,
        },
    })
}

/// Collects the pointers to all values. A value with fields in `values.yaml` has values below it.
fn pointers(path: &str, value: &Value, into: &mut Vec<String>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => {
            for (name, value) in fields {
                // Users replace these as a whole.
                if name == "resources" {
                    into.push(format!("{path}/{name}"));
                } else {
                    pointers(&format!("{path}/{name}"), value, into);
                }
            }
        }
        None => into.push(path.to_owned()),
    }
}

/// A change of any single value to its default changes the rendered objects. A real API server
/// accepts everything that is rendered.
pub async fn every_value(assets: Arc<Assets>) -> Result<()> {
    const DEFAULTS: &str = include_str!("../../../../deploy/helm/csr-warden/values.yaml");
    let cluster = Cluster::start(&assets, Options::default()).await?;
    operator(&cluster).await?;
    let defaults: Value = serde_saphyr::from_str(DEFAULTS)?;
    let all = other_values();
    // Some values exclude each other, so the effect must be visible in at least one of these
    // combinations.
    let mut on_pods = all.clone();
    on_pods["bootstrap"]["enabled"] = json!(false);
    on_pods["service"]["enabled"] = json!(true);
    on_pods["networkPolicy"]["enabled"] = json!(true);
    let mut on_nodes = all.clone();
    on_nodes["monitoring"]["serviceMonitor"]["enabled"] = json!(false);
    let mut bare = all.clone();
    bare["bootstrap"]["enabled"] = json!(false);
    bare["monitoring"]["serviceMonitor"]["enabled"] = json!(false);
    bare["image"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    let combinations = [on_pods, on_nodes, bare];
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("values.json");
    let named = format!("--values={}", file.display());
    let render = |values: &Value| -> Result<String> {
        std::fs::write(&file, values.to_string())?;
        chart(&assets, &[&named])
    };
    let mut whole = Vec::new();
    for values in &combinations {
        let text = render(values)?;
        apply(&cluster, "all values", &text).await?;
        whole.push(text);
    }

    let mut paths = Vec::new();
    pointers("", &defaults, &mut paths);
    for path in paths {
        let default = defaults.pointer(&path).context("a default")?;
        let mut seen = false;
        for (values, text) in combinations.iter().zip(&whole) {
            let mut values = values.clone();
            let value = values
                .pointer_mut(&path)
                .with_context(|| format!("{path} has no other value here"))?;
            *value = default.clone();
            // A rejection counts as an effect: some values require another one.
            seen |= render(&values).map_or(true, |other| other != *text);
        }
        ensure!(seen, "{path} does nothing");
    }
    Ok(())
}
