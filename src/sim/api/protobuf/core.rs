//! What else is in the group without a name (`k8s.io/api/core/v1`).

use std::collections::BTreeMap;

use super::meta::ObjectMeta;
use super::values::Time;
use super::{base64_values, messages};

messages! {
    Namespace {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<NamespaceSpec> = (message, optional, tag = "2");
        status: Option<NamespaceStatus> = (message, optional, tag = "3");
    }
    NamespaceSpec {
        finalizers: Vec<String> = (string, repeated, tag = "1");
    }
    NamespaceStatus {
        phase: String = (string, tag = "1");
        conditions: Vec<NamespaceCondition> = (message, repeated, tag = "2");
    }
    NamespaceCondition {
        r#type: String = (string, tag = "1");
        status: String = (string, tag = "2");
        last_transition_time: Option<Time> = (message, optional, tag = "4");
        reason: String = (string, tag = "5");
        message: String = (string, tag = "6");
    }
    ConfigMap {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        immutable: Option<bool> = (bool, optional, tag = "4");
        data: BTreeMap<String, String> = (btree_map = "string, string", tag = "2");
        #[serde(serialize_with = "base64_values")]
        binary_data: BTreeMap<String, Vec<u8>> = (btree_map = "string, bytes", tag = "3");
    }
    Secret {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        immutable: Option<bool> = (bool, optional, tag = "5");
        #[serde(serialize_with = "base64_values")]
        data: BTreeMap<String, Vec<u8>> = (btree_map = "string, bytes", tag = "2");
        string_data: BTreeMap<String, String> = (btree_map = "string, string", tag = "4");
        r#type: String = (string, tag = "3");
    }
    ServiceAccount {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        secrets: Vec<ObjectReference> = (message, repeated, tag = "2");
        image_pull_secrets: Vec<LocalObjectReference> = (message, repeated, tag = "3");
        automount_service_account_token: Option<bool> = (bool, optional, tag = "4");
    }
    ObjectReference {
        kind: String = (string, tag = "1");
        namespace: String = (string, tag = "2");
        name: String = (string, tag = "3");
        uid: String = (string, tag = "4");
        api_version: String = (string, tag = "5");
        resource_version: String = (string, tag = "6");
        field_path: String = (string, tag = "7");
    }
    LocalObjectReference {
        name: String = (string, tag = "1");
    }
}
