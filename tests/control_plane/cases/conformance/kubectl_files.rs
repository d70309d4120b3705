//! Input files for kubectl.

use std::fs;
use std::path::Path;

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use control_plane::pki;

/// Writes the files.
pub fn write(dir: &Path) -> Result<()> {
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": data});
    let mut wrong = map(json!({"a": "1"}));
    wrong["date"] = json!({"a": "1"});
    let pem = pki::request("system:node:node-9", &["system:nodes"])?;
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "csr-9"},
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
        },
    });
    let mut mistyped = request.clone();
    mistyped["metadata"]["name"] = "csr-8".into();
    mistyped["spec"]["expirySeconds"] = 600.into();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reconciled"},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "made"},
    });
    for (name, object) in [
        ("account.json", account),
        ("map.json", map(json!({"a": "1"}))),
        ("changed.json", map(json!({"a": "2", "b": "3"}))),
        ("wrong.json", wrong),
        ("csr.json", request),
        ("mistyped.json", mistyped),
        ("role.json", role),
    ] {
        fs::write(dir.join(name), object.to_string())?;
    }
    Ok(())
}
