//! Roles and who has them (`k8s.io/api/rbac/v1`).

use super::messages;
use super::meta::{LabelSelector, ObjectMeta};

messages! {
    ClusterRole {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        rules: Vec<PolicyRule> = (message, repeated, tag = "2");
        aggregation_rule: Option<AggregationRule> = (message, optional, tag = "3");
    }
    AggregationRule {
        cluster_role_selectors: Vec<LabelSelector> = (message, repeated, tag = "1");
    }
    ClusterRoleBinding {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        subjects: Vec<Subject> = (message, repeated, tag = "2");
        role_ref: Option<RoleRef> = (message, optional, tag = "3");
    }
    Role {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        rules: Vec<PolicyRule> = (message, repeated, tag = "2");
    }
    RoleBinding {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        subjects: Vec<Subject> = (message, repeated, tag = "2");
        role_ref: Option<RoleRef> = (message, optional, tag = "3");
    }
    PolicyRule {
        verbs: Vec<String> = (string, repeated, tag = "1");
        api_groups: Vec<String> = (string, repeated, tag = "2");
        resources: Vec<String> = (string, repeated, tag = "3");
        resource_names: Vec<String> = (string, repeated, tag = "4");
        #[serde(rename = "nonResourceURLs")]
        non_resource_urls: Vec<String> = (string, repeated, tag = "5");
    }
    RoleRef {
        api_group: String = (string, tag = "1");
        kind: String = (string, tag = "2");
        name: String = (string, tag = "3");
    }
    Subject {
        kind: String = (string, tag = "1");
        api_group: String = (string, tag = "2");
        name: String = (string, tag = "3");
        namespace: String = (string, tag = "4");
    }
}
