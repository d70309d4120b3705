//! Deployments of csr-warden, their Pods, and the requests on the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, Resource as _};
use schemars::JsonSchema;
use serde::Serialize;

use super::Existing;
use super::decisions::{Decision, read_log};
use crate::cluster::error::describe;
use crate::cluster::list::Pages;
use crate::cluster::objects::SlimRequest;
use crate::cluster::raw_request::object_path;
use judge::csr::KUBELET_SERVING_SIGNER;

/// Name of the container, and the namespace if none is named.
const CONTAINER: &str = "csr-warden";
const NAMESPACE: &str = "kube-system";

/// Namespace and name of a Deployment, as `NAMESPACE/NAME` or `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ReleaseName {
    namespace: String,
    name: String,
}

impl FromStr for ReleaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<ReleaseName, String> {
        let (namespace, name) = text.split_once('/').unwrap_or((NAMESPACE, text));
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(format!("expected NAMESPACE/DEPLOYMENT, found `{text}`"));
        }
        Ok(ReleaseName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Deployment whose verdicts are compared.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Release {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its Pods whose logs were read.
    pub(super) pods: Vec<String>,
    /// Versions of csr-warden in the log.
    pub(super) versions: BTreeSet<String>,
    /// Policies in the log, each with its digest.
    pub(super) policies: BTreeSet<String>,
    /// Enforcements in the log.
    pub(super) enforcements: BTreeSet<String>,
    /// Number of decisions in the log.
    pub(super) decisions: usize,
}

impl Release {
    /// Its row of the table.
    pub(super) fn row(&self, letter: &str) -> Vec<String> {
        let joined = |set: &BTreeSet<String>| match set.len() {
            0 => "<unknown>".to_owned(),
            _ => set.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        vec![
            letter.to_owned(),
            format!("{}/{}", self.namespace, self.name),
            joined(&self.versions),
            joined(&self.policies),
            joined(&self.enforcements),
        ]
    }

    /// Remarks that a person needs to understand the comparison.
    pub(super) fn remarks(&self) -> Option<String> {
        let several = self.versions.len().max(self.policies.len()) > 1;
        several.then(|| {
            format!(
                "{}/{} has judged by several versions or policies: a request counts by its last verdict",
                self.namespace, self.name
            )
        })
    }

    fn record(&mut self, last: &BTreeMap<String, Decision>) {
        for decision in last.values() {
            self.versions.insert(decision.version.clone());
            let policy = format!("{} ({})", decision.policy, decision.policy_digest);
            self.policies.insert(policy);
            self.enforcements.insert(decision.enforcement.clone());
        }
    }
}

/// Reads the last decision on each request from the logs of a Deployment's Pods.
pub(super) async fn read(
    client: &Client,
    name: &ReleaseName,
) -> Result<(Release, BTreeMap<String, Decision>)> {
    let ReleaseName { namespace, name } = name;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = deployments.get(name).await;
    let deployment = deployment.map_err(|error| anyhow::anyhow!(describe(&error)))?;
    let spec = deployment.spec.unwrap_or_default();
    let labels = spec.selector.match_labels.unwrap_or_default();
    let selector: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let containers = spec.template.spec.unwrap_or_default().containers;
    let ours = containers.iter().find(|one| one.name == CONTAINER);
    let container = ours.or(containers.first()).context("it has no container")?;

    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&selector.join(","));
    let found = pods.list_metadata(&params).await;
    let found = found.map_err(|error| anyhow::anyhow!("its Pods: {}", describe(&error)))?;
    let mut release = Release {
        namespace: namespace.clone(),
        name: name.clone(),
        ..Release::default()
    };
    let mut last = BTreeMap::new();
    let mut failures = Vec::new();
    for pod in found.items {
        let pod = name_of(pod);
        let path = object_path(&Pod::url_path(&(), Some(namespace)), &pod);
        let request = Request::get(format!("{path}/log?container={}", container.name));
        let request = request.body(Vec::new()).map_err(kube::Error::HttpError)?;
        match read_log(client, request, &mut last).await {
            Ok((decisions, others)) if decisions == 0 && others > 0 && is_text(&containers) => {
                bail!("the log of Pod {pod} is text: expected --log-format=json, the default")
            }
            Ok((decisions, _)) => {
                release.decisions += decisions;
                release.pods.push(pod);
            }
            Err(error) => failures.push(format!("the log of Pod {pod}: {}", describe(&error))),
        }
    }
    if let (true, Some(why)) = (release.pods.is_empty(), failures.first()) {
        bail!("{why}");
    }
    if release.pods.is_empty() {
        bail!("it has no Pods");
    }
    release.record(&last);
    Ok((release, last))
}

fn name_of(pod: PartialObjectMeta<Pod>) -> String {
    pod.metadata.name.unwrap_or_default()
}

/// True if a container writes its log as text.
fn is_text(containers: &[k8s_openapi::api::core::v1::Container]) -> bool {
    let args = containers.iter().flat_map(|one| one.args.iter().flatten());
    let joined: Vec<&str> = args.map(String::as_str).collect();
    joined.contains(&"--log-format=text")
        || joined.windows(2).any(|two| two == ["--log-format", "text"])
}

/// Reads the requests for kubelets' serving certificates.
pub(super) async fn requests(client: &Client) -> Result<Existing> {
    let path = k8s_openapi::api::certificates::v1::CertificateSigningRequest::url_path(&(), None);
    let params = ListParams::default().fields(&format!("spec.signerName={KUBELET_SERVING_SIGNER}"));
    let mut pages = Pages::new(client, &path, params);
    let mut existing = Existing::new();
    let failed = |error: kube::Error| anyhow::anyhow!("requests: {}", describe(&error));
    while let Some(page) = pages.next::<SlimRequest>().await.map_err(failed)? {
        for request in page.into_iter().flatten() {
            let (object, _) = request.split();
            existing.insert(object.uid.to_string(), object.is_open());
        }
    }
    Ok(existing)
}
