//! Authorization of administrators, nodes and users with a role.

use super::attributes::Attributes;
use super::authn::User;
use super::rbac;
use super::store::Store;

/// The decision of an authorizer. The reason of a refusal may be empty.
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
        match authorize_node(node, wanted) {
            Decision::Allowed => return Decision::Allowed,
            Decision::Refused(why) => reason = why,
        }
    }
    if rbac::allows(store, user, wanted) {
        return Decision::Allowed;
    }
    Decision::Refused(reason)
}

/// The node authorizer (`plugin/pkg/auth/authorizer/node`), for the served resources.
fn authorize_node(node: &str, wanted: &Attributes) -> Decision {
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

/// Returns true if the user may use a signer with this verb, by its name or for its whole domain.
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
