//! Who may do what: administrators, nodes, and whoever has a role.

use serde_json::Value;

use super::authn::User;
use super::rbac;
use super::store::Store;

/// What somebody wants to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Set for what is no resource; then all of the above but the verb is empty.
    pub(super) path: String,
}

impl Attributes {
    /// `nodes`, `nodes/status`.
    pub(super) fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// `User "U" cannot VERB resource "R" in API group "G" at the cluster scope`.
    pub(super) fn refusal(&self, user: &User, reason: &str) -> String {
        let colon = if reason.is_empty() { "" } else { ": " };
        if !self.path.is_empty() {
            return format!(
                "User {:?} cannot {} path {:?}{colon}{reason}",
                user.name, self.verb, self.path
            );
        }
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        format!(
            "User {:?} cannot {} resource {:?} in API group {:?} {place}{colon}{reason}",
            user.name,
            self.verb,
            self.combined(),
            self.group
        )
    }
}

/// The answer; if it is no, the reason may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    Refused(String),
}

const READ: [&str; 3] = ["get", "list", "watch"];

pub(super) fn authorize(store: &Store, user: &User, wanted: &Attributes) -> Decision {
    if user.is_in("system:masters") {
        return Decision::Allowed;
    }
    let mut reason = String::new();
    if let Some(node) = user.node() {
        match may_node(node, wanted) {
            Decision::Allowed => return Decision::Allowed,
            Decision::Refused(why) => reason = why,
        }
    }
    if rbac::allows(store, user, wanted) {
        return Decision::Allowed;
    }
    Decision::Refused(reason)
}

/// The node authorizer (`plugin/pkg/auth/authorizer/node`) for what is served here.
fn may_node(node: &str, wanted: &Attributes) -> Decision {
    let refused = |why: &str| Decision::Refused(why.to_owned());
    let yes = |allowed: bool| {
        if allowed {
            Decision::Allowed
        } else {
            Decision::Refused(String::new())
        }
    };
    let verb = wanted.verb.as_str();
    let reads = READ.contains(&verb);
    let writes = ["create", "update", "patch"].contains(&verb);
    match (
        wanted.group.as_str(),
        wanted.resource.as_str(),
        wanted.subresource.as_str(),
    ) {
        ("", "nodes", "") if writes => Decision::Allowed,
        ("", "nodes", "") if reads && wanted.name == node => Decision::Allowed,
        ("", "nodes", "") if reads && wanted.name.is_empty() => refused(&format!(
            "node '{node}' cannot read all nodes, only its own Node object"
        )),
        ("", "nodes", "") if reads => refused(&format!(
            "node '{node}' cannot read '{}', only its own Node object",
            wanted.name
        )),
        ("", "nodes", "status") => yes(verb == "update" || verb == "patch"),
        ("", "services", "") => yes(reads),
        ("", "configmaps" | "secrets", _) if !reads => {
            refused("can only read resources of this type")
        }
        ("", "configmaps" | "secrets", "") if wanted.namespace.is_empty() => {
            refused("can only read namespaced object of this type")
        }
        ("", "configmaps" | "secrets", "") if wanted.name.is_empty() => {
            refused("No Object name found")
        }
        ("", "configmaps" | "secrets", "") => refused(&format!(
            "no relationship found between node '{node}' and this object"
        )),
        ("" | "events.k8s.io", "events", "") => yes(writes),
        ("certificates.k8s.io", "certificatesigningrequests", "") => yes(reads || verb == "create"),
        ("coordination.k8s.io", "leases", _) => may_node_use_lease(node, wanted),
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => {
            yes(verb == "create")
        }
        (_, _, _) => yes(false),
    }
}

fn may_node_use_lease(node: &str, wanted: &Attributes) -> Decision {
    let refused = |why: &str| Decision::Refused(why.to_owned());
    let verb = wanted.verb.as_str();
    if !["get", "create", "update", "patch", "delete"].contains(&verb) {
        return refused("can only get, create, update, patch, or delete a node lease");
    }
    if wanted.namespace != "kube-node-lease" {
        return refused("can only access leases in the \"kube-node-lease\" system namespace");
    }
    if verb != "create" && wanted.name != node {
        return refused("can only access node lease with the same name as the requesting node");
    }
    Decision::Allowed
}

/// Whether somebody may use a signer in this way: by its name, or for its whole domain.
pub(super) fn may_use_signer(store: &Store, user: &User, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")]
        .iter()
        .any(|name| {
            let wanted = Attributes {
                verb: verb.into(),
                group: "certificates.k8s.io".into(),
                resource: "signers".into(),
                name: name.clone(),
                ..Attributes::default()
            };
            authorize(store, user, &wanted) == Decision::Allowed
        })
}

/// What a review asks about.
pub(super) fn attributes_of(spec: &Value) -> Attributes {
    let text = |path: &str| {
        let value = spec.pointer(path).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    if spec
        .get("nonResourceAttributes")
        .is_some_and(Value::is_object)
    {
        return Attributes {
            verb: text("/nonResourceAttributes/verb"),
            path: text("/nonResourceAttributes/path"),
            ..Attributes::default()
        };
    }
    Attributes {
        verb: text("/resourceAttributes/verb"),
        group: text("/resourceAttributes/group"),
        resource: text("/resourceAttributes/resource"),
        subresource: text("/resourceAttributes/subresource"),
        name: text("/resourceAttributes/name"),
        namespace: text("/resourceAttributes/namespace"),
        path: String::new(),
    }
}
