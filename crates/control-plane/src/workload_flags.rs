//! Additional flags for workloads: Deployments with Pods, autoscalers that read metrics, and an API
//! server that reaches kubelets and extension API servers.

use std::path::Path;

use anyhow::Result;

use super::pki::Authority;

const SIGNING_CONTROLLERS: [&str; 2] = [
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-cleaner-controller",
];
const WORKLOAD_CONTROLLERS: [&str; 5] = [
    "deployment-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "horizontal-pod-autoscaler-controller",
];

const PROXY: &str = "front-proxy-client";

/// Returns the flag for the controllers: those that sign, and with `wanted` those of workloads.
pub fn controllers(wanted: bool) -> String {
    let more: &[_] = if wanted { &WORKLOAD_CONTROLLERS } else { &[] };
    format!(
        "--controllers={}",
        [&SIGNING_CONTROLLERS, more].concat().join(",")
    )
}

/// Returns flags for the API server: its client certificates for kubelets and extension API
/// servers, as in kubeadm.
pub fn api_server(wanted: bool, authority: &Authority, dir: &Path) -> Result<Vec<String>> {
    if !wanted {
        return Ok(Vec::new());
    }
    let kubelets = authority.client(
        "apiserver-kubelet-client",
        "kube-apiserver-kubelet-client",
        &["system:masters"],
    )?;
    let folder = dir.join("front-proxy");
    std::fs::create_dir(&folder)?;
    let front = Authority::create(&folder)?;
    let proxy = front.client(PROXY, PROXY, &[])?;
    Ok(vec![
        format!("--kubelet-client-certificate={}", kubelets.cert.display()),
        format!("--kubelet-client-key={}", kubelets.key.display()),
        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname".into(),
        format!("--proxy-client-cert-file={}", proxy.cert.display()),
        format!("--proxy-client-key-file={}", proxy.key.display()),
        format!(
            "--requestheader-client-ca-file={}",
            front.pair().cert.display()
        ),
        format!("--requestheader-allowed-names={PROXY}"),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
    ])
}

/// Returns additional flags for the controller-manager.
pub fn controller_manager(wanted: bool, authority: &Authority) -> Vec<String> {
    if !wanted {
        return Vec::new();
    }
    vec![
        format!("--root-ca-file={}", authority.pair().cert.display()),
        "--horizontal-pod-autoscaler-sync-period=5s".into(),
    ]
}
