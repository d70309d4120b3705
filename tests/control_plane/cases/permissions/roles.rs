//! A role of the manifests on a cluster, with all or fewer rules.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role as NamespacedRole};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;

use super::SOON;
use control_plane::POLL_INTERVAL;
use control_plane::cluster::Cluster;

/// A ClusterRole, or a Role in its namespace.
pub struct Role<'a> {
    cluster: &'a Cluster,
    namespace: Option<&'a str>,
    name: &'a str,
    api: Api<DynamicObject>,
}

impl<'a> Role<'a> {
    pub fn new(cluster: &'a Cluster, namespace: Option<&'a str>, name: &'a str) -> Self {
        let admin = cluster.admin();
        let api = match namespace {
            Some(namespace) => {
                let resource = ApiResource::erase::<NamespacedRole>(&());
                Api::namespaced_with(admin, namespace, &resource)
            }
            None => Api::all_with(admin, &ApiResource::erase::<ClusterRole>(&())),
        };
        Self {
            cluster,
            namespace,
            name,
            api,
        }
    }

    pub async fn rules(&self) -> Result<Vec<PolicyRule>> {
        let object = self.api.get(self.name).await?;
        let rules = object.data.get("rules").context("rules")?.clone();
        Ok(serde_json::from_value(rules)?)
    }

    pub async fn set(&self, rules: &[PolicyRule]) -> Result<()> {
        let patch = Patch::Merge(json!({"rules": rules}));
        let params = PatchParams::default();
        self.api.patch(self.name, &params, &patch).await?;
        Ok(())
    }

    /// Waits until the API server's cache of roles is up to date: the action of the rule is allowed
    /// to this user, or not.
    pub async fn wait_allowed(&self, user: &str, rule: &PolicyRule, allowed: bool) -> Result<()> {
        let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|l| l.first().cloned());
        let mut spec = json!({
            "user": user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
        });
        let verb = rule.verbs.first();
        if let Some(path) = first(&rule.non_resource_urls) {
            spec["nonResourceAttributes"] = json!({"verb": verb, "path": path});
        } else {
            let resource = first(&rule.resources).unwrap_or_default();
            let (resource, part) = match resource.split_once('/') {
                Some((resource, part)) => (resource.to_owned(), Some(part.to_owned())),
                None => (resource, None),
            };
            spec["resourceAttributes"] = json!({
                "verb": verb, "group": first(&rule.api_groups),
                "resource": resource, "subresource": part,
                "name": first(&rule.resource_names), "namespace": self.namespace,
            });
        }
        let review: SubjectAccessReview = serde_json::from_value(json!({"spec": spec}))?;
        let api: Api<SubjectAccessReview> = Api::all(self.cluster.admin());
        let begun = Instant::now();
        loop {
            let answer = api.create(&PostParams::default(), &review).await?;
            let status = answer.status.context("status")?;
            if status.allowed == allowed {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "{rule:?} is not {allowed}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
