//! Protobuf messages of object metadata and of DeleteOptions
//! (`k8s.io/apimachinery/pkg/apis/meta/v1`).

use std::collections::BTreeMap;

use super::messages;
use super::values::{FieldsV1, Time};

messages! {
    ObjectMeta {
        name: String = (string, tag = "1");
        generate_name: String = (string, tag = "2");
        namespace: String = (string, tag = "3");
        self_link: String = (string, tag = "4");
        uid: String = (string, tag = "5");
        resource_version: String = (string, tag = "6");
        generation: i64 = (int64, tag = "7");
        creation_timestamp: Option<Time> = (message, optional, tag = "8");
        deletion_timestamp: Option<Time> = (message, optional, tag = "9");
        deletion_grace_period_seconds: Option<i64> = (int64, optional, tag = "10");
        labels: BTreeMap<String, String> = (btree_map = "string, string", tag = "11");
        annotations: BTreeMap<String, String> = (btree_map = "string, string", tag = "12");
        owner_references: Vec<OwnerReference> = (message, repeated, tag = "13");
        finalizers: Vec<String> = (string, repeated, tag = "14");
        managed_fields: Vec<ManagedFieldsEntry> = (message, repeated, tag = "17");
    }
    OwnerReference {
        api_version: String = (string, tag = "5");
        kind: String = (string, tag = "1");
        name: String = (string, tag = "3");
        uid: String = (string, tag = "4");
        controller: Option<bool> = (bool, optional, tag = "6");
        block_owner_deletion: Option<bool> = (bool, optional, tag = "7");
    }
    ManagedFieldsEntry {
        manager: String = (string, tag = "1");
        operation: String = (string, tag = "2");
        api_version: String = (string, tag = "3");
        time: Option<Time> = (message, optional, tag = "4");
        fields_type: String = (string, tag = "6");
        fields_v1: Option<FieldsV1> = (message, optional, tag = "7");
        subresource: String = (string, tag = "8");
    }
    LabelSelectorRequirement {
        key: String = (string, tag = "1");
        operator: String = (string, tag = "2");
        values: Vec<String> = (string, repeated, tag = "3");
    }
    DeleteOptions {
        grace_period_seconds: Option<i64> = (int64, optional, tag = "1");
        preconditions: Option<Preconditions> = (message, optional, tag = "2");
        orphan_dependents: Option<bool> = (bool, optional, tag = "3");
        propagation_policy: Option<String> = (string, optional, tag = "4");
        dry_run: Vec<String> = (string, repeated, tag = "5");
        ignore_store_read_error_with_cluster_breaking_potential: Option<bool> = (bool, optional, tag = "6");
    }
    Preconditions {
        uid: Option<String> = (string, optional, tag = "1");
        resource_version: Option<String> = (string, optional, tag = "2");
    }
    FieldSelectorRequirement {
        key: String = (string, tag = "1");
        operator: String = (string, tag = "2");
        values: Vec<String> = (string, repeated, tag = "3");
    }
}
