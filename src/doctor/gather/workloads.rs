//! What runs in the cluster, as far as it bears on kubelets' certificates: Deployments and their
//! like, API servers that are Pods, and autoscalers.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Container as FullContainer, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};

use super::access::{Reader, Right};
use crate::doctor::facts::{ApiServer, Autoscaler, Container, Known, Workload};

const NAME_LABEL: &str = "app.kubernetes.io/name";
/// What kubeadm and others label the static Pods of API servers with.
const API_SERVER_PODS: &str = "component=kube-apiserver";
/// The reasons that the autoscaler gives if it cannot read figures of Pods
/// (kubernetes `pkg/controller/podautoscaler/horizontal.go`).
const NO_METRICS: [&str; 2] = [
    "FailedGetResourceMetric",
    "FailedGetContainerResourceMetric",
];

/// All Deployments, DaemonSets and StatefulSets.
pub(super) async fn workloads(reader: &Reader) -> Known<Vec<Workload>> {
    let every = ListParams::default;
    let (deployments, daemons, sets): (Api<Deployment>, Api<DaemonSet>, Api<StatefulSet>) = (
        Api::all(reader.client.clone()),
        Api::all(reader.client.clone()),
        Api::all(reader.client.clone()),
    );
    let (deployments, daemons, sets) = tokio::join!(
        reader.list(
            Right("list", "deployments.apps"),
            &deployments,
            every(),
            deployment
        ),
        reader.list(
            Right("list", "daemonsets.apps"),
            &daemons,
            every(),
            daemon_set
        ),
        reader.list(
            Right("list", "statefulsets.apps"),
            &sets,
            every(),
            stateful_set
        ),
    );
    let mut all = deployments?;
    all.extend(daemons?);
    all.extend(sets?);
    Ok(all)
}

fn deployment(object: Deployment) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let ready = status.available_replicas.unwrap_or(0);
    workload("deployment", object.metadata, &spec.template, wanted, ready)
}

fn daemon_set(object: DaemonSet) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let (wanted, ready) = (status.desired_number_scheduled, status.number_ready);
    workload("daemonset", object.metadata, &spec.template, wanted, ready)
}

fn stateful_set(object: StatefulSet) -> Option<Workload> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    let ready = status.ready_replicas.unwrap_or(0);
    workload(
        "statefulset",
        object.metadata,
        &spec.template,
        wanted,
        ready,
    )
}

fn workload(
    kind: &'static str,
    meta: ObjectMeta,
    template: &PodTemplateSpec,
    wanted: i32,
    ready: i32,
) -> Option<Workload> {
    let label = |labels: Option<&BTreeMap<String, String>>| labels?.get(NAME_LABEL).cloned();
    let containers = template
        .spec
        .as_ref()
        .map(|spec| spec.containers.as_slice());
    Some(Workload {
        kind,
        namespace: meta.namespace?,
        name: meta.name?,
        label: label(meta.labels.as_ref()).or_else(|| {
            let of_pods = template.metadata.as_ref()?;
            label(of_pods.labels.as_ref())
        }),
        wanted,
        ready,
        containers: containers
            .unwrap_or_default()
            .iter()
            .map(container)
            .collect(),
    })
}

fn container(container: &FullContainer) -> Container {
    let command = container.command.iter().flatten();
    Container {
        image: container.image.clone().unwrap_or_default(),
        args: command
            .chain(container.args.iter().flatten())
            .cloned()
            .collect(),
    }
}

/// The API servers that are Pods in kube-system.
pub(super) async fn api_servers(reader: &Reader) -> Known<Vec<ApiServer>> {
    let api: Api<Pod> = Api::namespaced(reader.client.clone(), "kube-system");
    let params = ListParams::default().labels(API_SERVER_PODS);
    let keep = |pod: Pod| {
        let containers = pod.spec?.containers;
        Some(ApiServer {
            pod: pod.metadata.name?,
            args: containers
                .iter()
                .flat_map(|one| container(one).args)
                .collect(),
        })
    };
    reader.list(Right("list", "pods"), &api, params, keep).await
}

/// The autoscalers that cannot read figures.
pub(super) async fn autoscalers(reader: &Reader) -> Known<Vec<Autoscaler>> {
    let right = Right("list", "horizontalpodautoscalers.autoscaling");
    let api: Api<HorizontalPodAutoscaler> = Api::all(reader.client.clone());
    reader
        .list(right, &api, ListParams::default(), autoscaler)
        .await
}

fn autoscaler(object: HorizontalPodAutoscaler) -> Option<Autoscaler> {
    let conditions = object.status?.conditions?;
    let fails = conditions.iter().find(|condition| {
        let reason = condition.reason.as_deref().unwrap_or_default();
        condition.type_ == "ScalingActive"
            && condition.status == "False"
            && NO_METRICS.contains(&reason)
    })?;
    let (namespace, name) = (object.metadata.namespace?, object.metadata.name?);
    Some(Autoscaler {
        name: format!("{namespace}/{name}"),
        message: fails.message.clone().unwrap_or_default(),
    })
}
