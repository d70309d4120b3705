//! metrics-server as a process, with the arguments and the ServiceAccount of its Deployment.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use serde_json::json;

use super::assets::Assets;
use super::cluster::Cluster;
use super::ports;
use super::process::{Launch, Process};

const NAME: &str = "metrics-server";
const NAMESPACE: &str = "kube-system";
/// Where a Pod finds the cluster's CA.
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Starts it as the Deployment that is there says, and lets the API server find it.
pub async fn start(assets: &Assets, cluster: &Cluster) -> Result<Process> {
    let [port] = ports::free::<1>()?;
    let authority = cluster.authority();
    let serving = authority.serving(NAME, &[format!("{NAME}.{NAMESPACE}.svc")], &[])?;
    let accounts = Api::<ServiceAccount>::namespaced(cluster.admin(), NAMESPACE);
    accounts.get(NAME).await.context("its ServiceAccount")?;
    let token = cluster
        .kubectl(&["create", "token", NAME, "-n", NAMESPACE])
        .await?;
    let kubeconfig = cluster.kubeconfig_for_token(token.trim())?;
    let deployments = Api::<Deployment>::namespaced(cluster.admin(), NAMESPACE);
    let deployment = serde_json::to_value(deployments.get(NAME).await?)?;
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()
        .context("args")?;
    let ca = authority.pair().cert;
    let args = args.iter().filter_map(|arg| arg.as_str());
    let args = args.map(|arg| arg.replace(CA, &ca.to_string_lossy()));
    let kubeconfig = kubeconfig.display();
    let launch = Launch::new(NAME, &assets.metrics_server, cluster.dir())
        .args(args)
        .args([
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", serving.cert.display()),
            format!("--tls-private-key-file={}", serving.key.display()),
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
        ]);
    let process = Process::spawn(launch)?;
    let manifests = [
        // The API server goes to a Service only by an address, or by a name as this one.
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "type": "ExternalName", "externalName": "localhost",
                "ports": [{"name": "https", "port": port}],
            },
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": NAME, "namespace": NAMESPACE, "port": port},
                "caBundle": k8s_openapi::ByteString(authority.pem().into_bytes()),
            },
        }),
    ];
    for manifest in manifests {
        cluster.apply(&manifest.to_string()).await?;
    }
    Ok(process)
}
