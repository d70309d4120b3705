//! What a control plane needs more so that Deployments have Pods, autoscalers read metrics, and the API
//! server reaches kubelets and extensions.

use std::path::Path;

use anyhow::Result;

use super::pki::Authority;

/// The controllers.
pub const CONTROLLERS: [&str; 5] = [
    "deployment-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "horizontal-pod-autoscaler-controller",
];

const PROXY: &str = "front-proxy-client";

/// Flags for the API server: its certificates for kubelets and for extensions, as kubeadm has them.
pub fn api_server(authority: &Authority, dir: &Path) -> Result<Vec<String>> {
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

/// Flags for the controller-manager.
pub fn controller_manager(authority: &Authority) -> Vec<String> {
    vec![
        format!("--root-ca-file={}", authority.pair().cert.display()),
        "--horizontal-pod-autoscaler-sync-period=5s".into(),
    ]
}
