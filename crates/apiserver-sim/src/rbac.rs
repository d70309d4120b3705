//! Role-based access control (`plugin/pkg/auth/authorizer/rbac`), with default roles and those in
//! the store.
//!
//! Roles are read from the store for each request, as there are few.

use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::authn::User;
use super::store::{PageRequest, Scope, Store};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Role {
    #[serde(default)]
    rules: Vec<Rule>,
}

/// A rule of a role, in the format of roles and reviews.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.name,
            "Group" => user.is_in(&self.name),
            "ServiceAccount" => {
                user.service_account() == Some((self.namespace.as_str(), self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl Rule {
    fn on_paths(verbs: &[&str], paths: &[&str]) -> Rule {
        Rule {
            verbs: owned(verbs),
            paths: owned(paths),
            ..Rule::default()
        }
    }

    fn on_resources(verbs: &[&str], group: &str, resources: &[&str]) -> Rule {
        Rule {
            verbs: owned(verbs),
            api_groups: owned(&[group]),
            resources: owned(resources),
            ..Rule::default()
        }
    }

    /// Returns true if the rule is for non-resource paths.
    pub(super) fn is_of_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    fn allows(&self, wanted: &Attributes) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|one| one == "*" || one == value);
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        if !wanted.path.is_empty() {
            let covers = |path: &String| match path.strip_suffix('*') {
                Some(prefix) => wanted.path.starts_with(prefix),
                None => wanted.path == *path,
            };
            return self.paths.iter().any(covers);
        }
        let combined = wanted.combined();
        let any = format!("*/{}", wanted.subresource);
        let resource = has(&self.resources, &combined)
            || !wanted.subresource.is_empty() && self.resources.contains(&any);
        has(&self.api_groups, &wanted.group)
            && resource
            && (self.resource_names.is_empty() || self.resource_names.contains(&wanted.name))
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Returns true if a role allows the action.
pub(super) fn allows(store: &Store, user: &User, wanted: &Attributes) -> bool {
    let rules = rules(store, user, &wanted.namespace);
    rules.iter().any(|rule| rule.allows(wanted))
}

/// Returns all rules that apply to a user in a namespace and at the cluster scope.
pub(super) fn rules(store: &Store, user: &User, namespace: &str) -> Vec<Rule> {
    let mut rules = default_rules(user);
    for reference in bound(store, user, "clusterrolebindings", "") {
        rules.extend(rules_of(store, &reference, ""));
    }
    if !namespace.is_empty() {
        for reference in bound(store, user, "rolebindings", namespace) {
            rules.extend(rules_of(store, &reference, namespace));
        }
    }
    rules
}

/// Returns the rules of `cluster-admin`, `system:public-info-viewer`, `system:discovery` and
/// `system:basic-user` (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`).
fn default_rules(user: &User) -> Vec<Rule> {
    const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    const DISCOVERY: [&str; 11] = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let mut rules = Vec::new();
    if user.is_in("system:masters") {
        rules.push(Rule::on_resources(&["*"], "*", &["*"]));
        rules.push(Rule::on_paths(&["*"], &["*"]));
    }
    let known = user.is_in("system:authenticated");
    if known || user.is_in("system:unauthenticated") {
        rules.push(Rule::on_paths(&["get"], &PUBLIC));
    }
    if known {
        let of_rights = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
        let of_identity = ["selfsubjectreviews"];
        rules.extend([
            Rule::on_paths(&["get"], &DISCOVERY),
            Rule::on_resources(&["create"], "authorization.k8s.io", &of_rights),
            Rule::on_resources(&["create"], "authentication.k8s.io", &of_identity),
        ]);
    }
    rules
}

fn bound(store: &Store, user: &User, storage: &str, namespace: &str) -> Vec<RoleRef> {
    let scope = Scope {
        namespace: namespace.to_owned(),
        ..Scope::default()
    };
    let Ok(page) = store.list(storage, &scope, &PageRequest::default()) else {
        return Vec::new();
    };
    page.objects
        .iter()
        .filter_map(|stored| serde_json::from_slice::<Binding>(&stored.body).ok())
        .filter(|binding| binding.subjects.iter().any(|subject| subject.is(user)))
        .map(|binding| binding.role_ref)
        .collect()
}

fn rules_of(store: &Store, reference: &RoleRef, namespace: &str) -> Vec<Rule> {
    let (storage, key) = if reference.kind == "Role" {
        ("roles", format!("{namespace}/{}", reference.name))
    } else {
        ("clusterroles", reference.name.clone())
    };
    let role = store.get(storage, &key);
    let role = role.and_then(|stored| serde_json::from_slice::<Role>(&stored.body).ok());
    role.map_or_else(Vec::new, |role| role.rules)
}
