//! An extension API server (aggregated API), as a process with the arguments and the ServiceAccount
//! of its Deployment.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;

use super::cluster::Cluster;
use super::ports;
use super::process::{Launch, Process};

/// The path of the cluster's CA in a Pod.
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// An extension API server. Deployment, ServiceAccount and Service have its name.
pub struct ExtensionApiServer<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub program: &'a Path,
    /// The group that it serves in version `v1beta1`.
    pub group: &'a str,
    /// The flag for the kubeconfig with which it reads the cluster.
    pub kubeconfig: &'a str,
    /// Paths in the Deployment's arguments, with their paths on this machine.
    pub places: &'a [(&'a str, String)],
}

impl ExtensionApiServer<'_> {
    /// Starts it with the arguments of the existing Deployment, and registers it with the API
    /// server.
    pub async fn start(&self, cluster: &Cluster) -> Result<Process> {
        let Self {
            name,
            namespace,
            group,
            ..
        } = self;
        let [port] = ports::free::<1>()?;
        let authority = cluster.authority();
        let serving = authority.serving(name, &[format!("{name}.{namespace}.svc")], &[])?;
        let token = cluster.token(namespace, name).await?;
        let kubeconfig = cluster.kubeconfig_for_token(&token)?;
        let kubeconfig = kubeconfig.display();
        let ca = authority.pair().cert;
        let launch = Launch::new(name, self.program, cluster.dir())
            .args(self.args(cluster, &ca).await?)
            .args([
                format!("--secure-port={port}"),
                format!("--tls-cert-file={}", serving.cert.display()),
                format!("--tls-private-key-file={}", serving.key.display()),
                format!("--{}={kubeconfig}", self.kubeconfig),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
            ]);
        let process = Process::spawn(launch)?;
        let manifests = [
            // The API server reaches a Service only by an address, or by a name like this one.
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "type": "ExternalName", "externalName": "localhost",
                    "ports": [{"name": "https", "port": port}],
                },
            }),
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": format!("v1beta1.{group}")},
                "spec": {
                    "group": group, "version": "v1beta1",
                    "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"name": name, "namespace": namespace, "port": port},
                    "caBundle": k8s_openapi::ByteString(authority.pem().into_bytes()),
                },
            }),
        ];
        for manifest in manifests {
            cluster.apply(&manifest.to_string()).await?;
        }
        Ok(process)
    }

    async fn args(&self, cluster: &Cluster, ca: &Path) -> Result<Vec<String>> {
        let deployments = Api::<Deployment>::namespaced(cluster.admin(), self.namespace);
        let deployment = serde_json::to_value(deployments.get(self.name).await?)?;
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .context("args")?;
        let here = |arg: &str| {
            let with_ca = arg.replace(CA, &ca.to_string_lossy());
            self.places
                .iter()
                .fold(with_ca, |arg, (there, here)| arg.replace(there, here))
        };
        Ok(args
            .iter()
            .filter_map(|arg| arg.as_str())
            .map(here)
            .collect())
    }
}
