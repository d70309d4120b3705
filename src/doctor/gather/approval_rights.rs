//! Subjects that may approve a kubelet's request, by RBAC.
//!
//! That takes `update` or `patch` on the subresource `approval`, and `approve` on the signer
//! (kubernetes `plugin/pkg/admission/certificates/approval/admission.go`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::ListParams;
use serde::Deserialize;

use super::reader::{Reader, Right, SlimMeta, path};
use crate::doctor::facts::{Approver, Known};
use judge::csr::KUBELET_SERVING_SIGNER;

const GROUP: &str = "certificates.k8s.io";
/// The built-in ClusterRole that allows everything.
const EVERYTHING: &str = "cluster-admin";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Role {
    metadata: SlimMeta,
    rules: Option<Vec<Rule>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
    verbs: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Binding {
    metadata: SlimMeta,
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RoleRef {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: Option<String>,
}

/// The parts of the right to approve that a role grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allows {
    writes: bool,
    approves: bool,
}

impl Allows {
    fn or(self, other: Allows) -> Allows {
        Allows {
            writes: self.writes || other.writes,
            approves: self.approves || other.approves,
        }
    }
}

pub(super) async fn approvers(reader: &Reader) -> Known<Vec<Approver>> {
    let roles = path::<ClusterRole>(None);
    let bindings = path::<ClusterRoleBinding>(None);
    let of_roles = Right::new("list", "clusterroles.rbac.authorization.k8s.io");
    let of_bindings = Right::new("list", "clusterrolebindings.rbac.authorization.k8s.io");
    let every = ListParams::default;
    let (roles, bindings) = tokio::join!(
        reader.list(of_roles, &roles, every(), |role: Role| Some((
            role.metadata.name?,
            allows(&role.rules.unwrap_or_default())
        ))),
        reader.list(of_bindings, &bindings, every(), Some),
    );
    Ok(subjects_with_both(
        &roles?.into_iter().collect(),
        &bindings?,
    ))
}

/// Adds up the rights of each subject. Requests are cluster-scoped, so RoleBindings grant none.
fn subjects_with_both(roles: &BTreeMap<String, Allows>, bindings: &[Binding]) -> Vec<Approver> {
    let mut subjects: BTreeMap<String, (Allows, Approver)> = BTreeMap::new();
    for binding in bindings {
        let gives = roles.get(&binding.role_ref.name).copied();
        let gives = gives.unwrap_or_default();
        if gives == Allows::default() {
            continue;
        }
        let name = binding.metadata.name.clone().unwrap_or_default();
        for subject in binding.subjects.iter().flatten() {
            let subject = shown(subject);
            let fresh = Approver {
                subject: subject.clone(),
                administrator: false,
                bindings: BTreeSet::new(),
            };
            let (has, approver) = subjects
                .entry(subject)
                .or_insert((Allows::default(), fresh));
            *has = has.or(gives);
            approver.administrator |= binding.role_ref.name == EVERYTHING;
            approver.bindings.insert(name.clone());
        }
    }
    let may = |allows: Allows| allows.writes && allows.approves;
    subjects
        .into_values()
        .filter(|(has, _)| may(*has))
        .map(|(_, approver)| approver)
        .collect()
}

fn shown(subject: &Subject) -> String {
    let name = &subject.name;
    match &subject.namespace {
        Some(namespace) => format!("{} {namespace}/{name}", subject.kind),
        None => format!("{} {name}", subject.kind),
    }
}

fn allows(rules: &[Rule]) -> Allows {
    rules.iter().fold(Allows::default(), |sum, rule| {
        let has = |list: &[String], desired: &[&str]| {
            let mut all = list.iter();
            all.any(|entry| entry == "*" || desired.contains(&entry.as_str()))
        };
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        let resources = rule.resources.as_deref().unwrap_or_default();
        if !has(groups, &[GROUP]) {
            return sum;
        }
        let verbs = rule.verbs.as_deref().unwrap_or_default();
        let names = rule.resource_names.as_deref().unwrap_or_default();
        let signers = [KUBELET_SERVING_SIGNER, "kubernetes.io/*"];
        sum.or(Allows {
            writes: has(
                resources,
                &["certificatesigningrequests/approval", "*/approval"],
            ) && has(verbs, &["update", "patch"]),
            approves: has(resources, &["signers"])
                && has(verbs, &["approve"])
                && (names.is_empty() || names.iter().any(|name| signers.contains(&name.as_str()))),
        })
    })
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(resources: &[&str], verbs: &[&str], names: &[&str]) -> Rule {
        let mut rule = json!({"apiGroups": [GROUP], "resources": resources, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn approval_takes_two_rights() {
        let writes = rule(&["certificatesigningrequests/approval"], &["update"], &[]);
        let signer = rule(&["signers"], &["approve"], &[KUBELET_SERVING_SIGNER]);
        let domain = rule(&["signers"], &["approve"], &["kubernetes.io/*"]);
        let all = rule(&["signers"], &["*"], &[]);
        let other = rule(
            &["signers"],
            &["approve"],
            &["kubernetes.io/kube-apiserver-client-kubelet"],
        );
        let signs = rule(&["signers"], &["sign"], &[]);
        for approving in [&signer, &domain, &all] {
            assert!(allows(std::slice::from_ref(approving)).approves);
        }
        assert_eq!(allows(&[other, signs]), Allows::default());
        let both = Allows {
            writes: true,
            approves: true,
        };
        assert_eq!(allows(&[writes, signer]), both);
    }

    #[test]
    fn rights_of_two_roles_add_up_for_one_subject() {
        let half = |writes| Allows {
            writes,
            approves: !writes,
        };
        let roles = [("w".to_owned(), half(true)), ("a".to_owned(), half(false))].into();
        let binding = |name: &str, role: &str, user: &str| -> Binding {
            let value: Value = json!({
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "x", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": user}],
            });
            serde_json::from_value(value).unwrap()
        };
        let bindings = [
            binding("1", "w", "eve"),
            binding("2", "a", "eve"),
            binding("3", "a", "bob"),
        ];
        let found = subjects_with_both(&roles, &bindings);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].subject, "User eve");
        assert_eq!(found[0].bindings.len(), 2);
    }
}
