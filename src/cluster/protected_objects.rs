//! Objects that contain protected identities, decoded without the fields that are not used.
//!
//! They share one type, because the code that watches, lists and decodes a type is compiled once
//! for each type.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::objects::slim_meta;
use crate::cluster::watch::Watched;
use judge::evidence::Source;

/// Namespace and name of the API server's Service.
pub const KUBERNETES_SERVICE: (&str, &str) = ("default", "kubernetes");
/// Namespace and name of the ConfigMap that joining nodes read the API server's address from.
pub const CLUSTER_INFO: (&str, &str) = ("kube-public", "cluster-info");

/// The label of an EndpointSlice with the name of its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The kind of an object with protected identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The API server's Service.
    Service,
    /// The API server's endpoints.
    EndpointSlice,
    /// A network of Services.
    ServiceCidr,
    /// The `cluster-info` of kubeadm, with the API server's address.
    ConfigMap,
    /// A Namespace, whose Services pods reach by names that end in its name.
    Namespace,
}

/// Objects of one kind that protect something, as a list of the API server selects them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The only namespace that they are in, if they are in one.
    pub namespace: Option<&'static str>,
    /// The only name that they have, if they have one.
    pub name: Option<&'static str>,
    /// The label that they have, and its value.
    pub label: Option<(&'static str, &'static str)>,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::ServiceCidr,
        Kind::ConfigMap,
        Kind::Namespace,
    ];

    /// Selection of the objects of this kind that protect something.
    pub fn selection(self) -> Selection {
        let named = |(namespace, name)| Selection {
            namespace: Some(namespace),
            name: Some(name),
            label: None,
        };
        match self {
            Kind::Service => named(KUBERNETES_SERVICE),
            Kind::EndpointSlice => Selection {
                namespace: Some(KUBERNETES_SERVICE.0),
                name: None,
                label: Some((SERVICE_NAME_LABEL, KUBERNETES_SERVICE.1)),
            },
            Kind::ServiceCidr | Kind::Namespace => Selection::default(),
            Kind::ConfigMap => named(CLUSTER_INFO),
        }
    }

    /// The kind of this name in the API.
    pub fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.names().kind == name)
    }

    /// The source of evidence that all objects of this kind form.
    pub fn source(self) -> Source {
        match self {
            Kind::Service => Source::KubernetesService,
            Kind::EndpointSlice => Source::ApiServerEndpoints,
            Kind::ServiceCidr => Source::ServiceCidrs,
            Kind::ConfigMap => Source::ClusterInfo,
            Kind::Namespace => Source::Namespaces,
        }
    }

    /// Kind and name of an object, as findings name it. The name starts with its namespace.
    pub fn origin(self, name: &str) -> String {
        format!("{} {name}", self.names().kind)
    }

    fn names(self) -> Names {
        match self {
            Kind::Service => Names::of::<Service>(),
            Kind::EndpointSlice => Names::of::<EndpointSlice>(),
            Kind::ServiceCidr => Names::of::<ServiceCIDR>(),
            Kind::ConfigMap => Names::of::<ConfigMap>(),
            Kind::Namespace => Names::of::<Namespace>(),
        }
    }
}

/// Describes a source as incomplete if it has no object, although the API server always creates
/// one. `None` if the source may be empty.
pub fn required_object_missing(source: Source) -> Option<String> {
    let object = match source {
        Source::KubernetesService => "Service default/kubernetes",
        Source::ServiceCidrs => "ServiceCIDR",
        Source::Namespaces => "Namespace",
        // An API server on a loopback address has no EndpointSlice, and only kubeadm creates
        // cluster-info.
        Source::ApiServerEndpoints | Source::ClusterInfo => return None,
        Source::Nodes
        | Source::Requests
        | Source::ApiServerCertificates
        | Source::Inventory
        | Source::Machines
        | Source::Dns
        | Source::ServingCertificates => return None,
    };
    Some(format!("there is no {object}, which every cluster has"))
}

impl Selection {
    /// Returns true if the API server would select this object.
    pub fn has(&self, object: &Value) -> bool {
        let meta = |field: &str| object.get("metadata")?.get(field);
        let is = |field: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| meta(field).is_some_and(|found| found == wanted))
        };
        is("namespace", self.namespace)
            && is("name", self.name)
            && self.label.is_none_or(|(label, wanted)| {
                let found = meta("labels").and_then(|labels| labels.get(label));
                found.is_some_and(|found| found == wanted)
            })
    }
}

/// Group, version, kind and plural of an API resource.
struct Names {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

impl Names {
    fn of<K: k8s_openapi::Resource>() -> Names {
        Names {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural: K::URL_PATH_SEGMENT,
        }
    }
}

/// An object with protected identities; each kind has some of the fields.
#[derive(Clone, Debug, Deserialize)]
pub struct ProtectedObject {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    pub(super) spec: Option<ObjectSpec>,
    pub(super) status: Option<ObjectStatus>,
    pub(super) endpoints: Option<Vec<Endpoint>>,
    pub(super) ports: Option<Vec<Port>>,
    pub(super) data: Option<Data>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ObjectSpec {
    #[serde(rename = "clusterIP")]
    pub(super) cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    pub(super) external_ips: Option<Vec<String>>,
    pub(super) cidrs: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectStatus {
    pub(super) load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct LoadBalancer {
    pub(super) ingress: Option<Vec<Ingress>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ingress {
    pub(super) ip: Option<String>,
    pub(super) hostname: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoint {
    pub(super) addresses: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Port {
    pub(super) port: Option<i32>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Data {
    pub(super) kubeconfig: Option<String>,
}

impl ProtectedObject {
    /// Kind, namespace and name, as findings name the object.
    pub fn origin(&self, kind: Kind) -> String {
        match self.namespace() {
            Some(namespace) => kind.origin(&format!("{namespace}/{}", self.name_any())),
            None => kind.origin(&self.name_any()),
        }
    }
}

impl Watched for ProtectedObject {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl Resource for ProtectedObject {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.names().kind.into()
    }

    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.names().group.into()
    }

    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.names().version.into()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.names().plural.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
