//! The served resources. All share the same handlers, which name the exceptions.

use k8s_openapi::api::{
    apps, certificates, coordination, core, discovery, events, networking, policy, rbac,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A resource of one API version.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    pub(super) subresources: &'static [&'static str],
    /// Decodes an object and encodes it in the form of its type. Unknown fields are dropped. A
    /// wrong type is an error.
    pub(super) canonical: fn(Value) -> Result<Value, serde_json::Error>,
    /// An update of a missing object creates it.
    pub(super) create_on_update: bool,
    /// An update needs no resourceVersion.
    pub(super) unconditional: bool,
}

fn typed<T: Serialize + DeserializeOwned>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

impl Resource {
    /// Returns the resource with its group: `nodes`, `leases.coordination.k8s.io`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Returns `v1` or `coordination.k8s.io/v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns true if the resource has this subresource.
    pub(super) fn has(&self, subresource: &str) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Returns true for `events.k8s.io/v1`, which is stored as `v1`.
    pub(super) fn is_new_event(&self) -> bool {
        self.group == "events.k8s.io"
    }
}

const CLUSTER: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    short: &[],
    namespaced: false,
    subresources: &[],
    canonical: Ok,
    create_on_update: false,
    unconditional: true,
};
const NAMESPACED: Resource = Resource {
    namespaced: true,
    ..CLUSTER
};

/// All resources, by group, in the order of discovery.
pub(super) static RESOURCES: [Resource; 20] = [
    Resource {
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short: &["cm"],
        canonical: typed::<core::v1::ConfigMap>,
        ..NAMESPACED
    },
    Resource {
        plural: "events",
        singular: "event",
        kind: "Event",
        short: &["ev"],
        canonical: typed::<core::v1::Event>,
        create_on_update: true,
        ..NAMESPACED
    },
    Resource {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short: &["ns"],
        subresources: &["status"],
        canonical: typed::<core::v1::Namespace>,
        ..CLUSTER
    },
    Resource {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short: &["no"],
        subresources: &["status"],
        canonical: typed::<core::v1::Node>,
        ..CLUSTER
    },
    Resource {
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short: &["po"],
        subresources: &["status"],
        canonical: typed::<core::v1::Pod>,
        ..NAMESPACED
    },
    Resource {
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        canonical: typed::<core::v1::Secret>,
        ..NAMESPACED
    },
    Resource {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short: &["sa"],
        subresources: &["token"],
        canonical: typed::<core::v1::ServiceAccount>,
        ..NAMESPACED
    },
    Resource {
        plural: "services",
        singular: "service",
        kind: "Service",
        short: &["svc"],
        subresources: &["status"],
        canonical: typed::<core::v1::Service>,
        create_on_update: true,
        ..NAMESPACED
    },
    Resource {
        group: "apps",
        plural: "deployments",
        singular: "deployment",
        kind: "Deployment",
        short: &["deploy"],
        subresources: &["status"],
        canonical: typed::<apps::v1::Deployment>,
        ..NAMESPACED
    },
    Resource {
        group: "certificates.k8s.io",
        plural: "certificatesigningrequests",
        singular: "certificatesigningrequest",
        kind: "CertificateSigningRequest",
        short: &["csr"],
        subresources: &["approval", "status"],
        canonical: typed::<certificates::v1::CertificateSigningRequest>,
        ..CLUSTER
    },
    Resource {
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        canonical: typed::<coordination::v1::Lease>,
        create_on_update: true,
        unconditional: false,
        ..NAMESPACED
    },
    Resource {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        singular: "endpointslice",
        kind: "EndpointSlice",
        canonical: typed::<discovery::v1::EndpointSlice>,
        ..NAMESPACED
    },
    Resource {
        group: "events.k8s.io",
        plural: "events",
        singular: "event",
        kind: "Event",
        short: &["ev"],
        canonical: typed::<events::v1::Event>,
        create_on_update: true,
        ..NAMESPACED
    },
    Resource {
        group: "networking.k8s.io",
        plural: "servicecidrs",
        singular: "servicecidr",
        kind: "ServiceCIDR",
        subresources: &["status"],
        canonical: typed::<networking::v1::ServiceCIDR>,
        ..CLUSTER
    },
    Resource {
        group: "networking.k8s.io",
        plural: "networkpolicies",
        singular: "networkpolicy",
        kind: "NetworkPolicy",
        short: &["netpol"],
        canonical: typed::<networking::v1::NetworkPolicy>,
        ..NAMESPACED
    },
    Resource {
        group: "policy",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        kind: "PodDisruptionBudget",
        short: &["pdb"],
        subresources: &["status"],
        canonical: typed::<policy::v1::PodDisruptionBudget>,
        ..NAMESPACED
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        kind: "ClusterRoleBinding",
        canonical: typed::<rbac::v1::ClusterRoleBinding>,
        create_on_update: true,
        ..CLUSTER
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "clusterroles",
        singular: "clusterrole",
        kind: "ClusterRole",
        canonical: typed::<rbac::v1::ClusterRole>,
        create_on_update: true,
        ..CLUSTER
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "rolebindings",
        singular: "rolebinding",
        kind: "RoleBinding",
        canonical: typed::<rbac::v1::RoleBinding>,
        create_on_update: true,
        ..NAMESPACED
    },
    Resource {
        group: "rbac.authorization.k8s.io",
        plural: "roles",
        singular: "role",
        kind: "Role",
        canonical: typed::<rbac::v1::Role>,
        create_on_update: true,
        ..NAMESPACED
    },
];

/// Review kinds, which are answered but not stored: kind, plural, group, namespaced.
pub(super) const REVIEWS: [(&str, &str, &str, bool); 6] = [
    (
        "SelfSubjectReview",
        "selfsubjectreviews",
        "authentication.k8s.io",
        false,
    ),
    (
        "TokenReview",
        "tokenreviews",
        "authentication.k8s.io",
        false,
    ),
    (
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "authorization.k8s.io",
        true,
    ),
    (
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "authorization.k8s.io",
        false,
    ),
    (
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "authorization.k8s.io",
        false,
    ),
    (
        "SubjectAccessReview",
        "subjectaccessreviews",
        "authorization.k8s.io",
        false,
    ),
];

/// Returns the resource of this group, version and plural.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|one| one.group == group && one.version == version && one.plural == plural)
}

/// Returns the stored resource with this plural, in any group.
pub(super) fn stored(plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|one| one.plural == plural)
}
