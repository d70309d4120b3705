//! Facts about workloads: Deployments, DaemonSets and StatefulSets, API servers that run as Pods,
//! and autoscalers.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde::Deserialize;

use super::reader::{Reader, Right, SlimMeta, path};
use crate::doctor::facts::{ApiServer, Autoscaler, Container, Known, Workload};

const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Label of the API servers' static Pods, as kubeadm and others set it.
const API_SERVER_PODS: &str = "component=kube-apiserver";
/// Reasons of an autoscaler that cannot read the metrics of Pods (kubernetes
/// `pkg/controller/podautoscaler/horizontal.go`).
const NO_METRICS: [&str; 2] = [
    "FailedGetResourceMetric",
    "FailedGetContainerResourceMetric",
];

/// A Deployment, DaemonSet or StatefulSet.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimWorkload {
    metadata: SlimMeta,
    spec: Option<WorkloadSpec>,
    status: Option<WorkloadStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkloadSpec {
    replicas: Option<i32>,
    template: PodTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkloadStatus {
    available_replicas: Option<i32>,
    ready_replicas: Option<i32>,
    desired_number_scheduled: Option<i32>,
    number_ready: Option<i32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodTemplate {
    metadata: Option<SlimMeta>,
    spec: Option<PodSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    containers: Option<Vec<SlimContainer>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimContainer {
    image: Option<String>,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimPod {
    metadata: SlimMeta,
    spec: Option<PodSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SlimAutoscaler {
    metadata: SlimMeta,
    status: Option<AutoscalerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AutoscalerStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

/// Lists all Deployments, DaemonSets and StatefulSets.
pub(super) async fn workloads(reader: &Reader) -> Known<Vec<Workload>> {
    let (deployments, daemons, sets) = (
        path::<Deployment>(None),
        path::<DaemonSet>(None),
        path::<StatefulSet>(None),
    );
    let list = |resource, path, keep: fn(SlimWorkload) -> Option<Workload>| {
        reader.list(
            Right::new("list", resource),
            path,
            ListParams::default(),
            keep,
        )
    };
    let (deployments, daemons, sets) = tokio::join!(
        list("deployments.apps", &deployments, deployment),
        list("daemonsets.apps", &daemons, daemon_set),
        list("statefulsets.apps", &sets, stateful_set),
    );
    let mut all = deployments?;
    all.extend(daemons?);
    all.extend(sets?);
    Ok(all)
}

fn deployment(object: SlimWorkload) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let desired = spec.replicas.unwrap_or(1);
    let ready = status.available_replicas.unwrap_or(0);
    workload("deployment", object.metadata, spec.template, desired, ready)
}

fn daemon_set(object: SlimWorkload) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let desired = status.desired_number_scheduled.unwrap_or(0);
    let ready = status.number_ready.unwrap_or(0);
    workload("daemonset", object.metadata, spec.template, desired, ready)
}

fn stateful_set(object: SlimWorkload) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let desired = spec.replicas.unwrap_or(1);
    let ready = status.ready_replicas.unwrap_or(0);
    workload(
        "statefulset",
        object.metadata,
        spec.template,
        desired,
        ready,
    )
}

fn workload(
    kind: &'static str,
    meta: SlimMeta,
    template: PodTemplate,
    desired: i32,
    ready: i32,
) -> Option<Workload> {
    let label = |labels: Option<BTreeMap<String, String>>| labels?.remove(NAME_LABEL);
    Some(Workload {
        kind,
        namespace: meta.namespace?,
        name: meta.name?,
        label: label(meta.labels).or_else(|| label(template.metadata?.labels)),
        desired,
        ready,
        containers: containers(template.spec).collect(),
    })
}

fn containers(spec: Option<PodSpec>) -> impl Iterator<Item = Container> {
    let all = spec.and_then(|spec| spec.containers).unwrap_or_default();
    all.into_iter().map(|container| {
        let mut args = container.command.unwrap_or_default();
        args.extend(container.args.unwrap_or_default());
        Container {
            image: container.image.unwrap_or_default(),
            args,
        }
    })
}

/// Lists the API servers that run as Pods in kube-system.
pub(super) async fn api_servers(reader: &Reader) -> Known<Vec<ApiServer>> {
    let params = ListParams::default().labels(API_SERVER_PODS);
    let keep = |pod: SlimPod| {
        let mut spec = pod.spec?;
        Some(ApiServer {
            pod: pod.metadata.name?,
            node: spec.node_name.take().unwrap_or_default(),
            args: containers(Some(spec))
                .flat_map(|container| container.args)
                .collect(),
        })
    };
    let right = Right::new("list", "pods").in_namespace("kube-system");
    let path = path::<Pod>(Some("kube-system"));
    reader.list(right, &path, params, keep).await
}

/// Lists the autoscalers that cannot read metrics.
pub(super) async fn autoscalers(reader: &Reader) -> Known<Vec<Autoscaler>> {
    let right = Right::new("list", "horizontalpodautoscalers.autoscaling");
    let path = path::<HorizontalPodAutoscaler>(None);
    reader
        .list(right, &path, ListParams::default(), autoscaler)
        .await
}

fn autoscaler(object: SlimAutoscaler) -> Option<Autoscaler> {
    let conditions = object.status?.conditions?;
    let fails = conditions.iter().find(|condition| {
        let reason = condition.reason.as_deref().unwrap_or_default();
        condition.r#type == "ScalingActive"
            && condition.status == "False"
            && NO_METRICS.contains(&reason)
    })?;
    let (namespace, name) = (object.metadata.namespace?, object.metadata.name?);
    Some(Autoscaler {
        name: format!("{namespace}/{name}"),
        message: fails.message.clone().unwrap_or_default(),
    })
}
