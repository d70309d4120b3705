//! Protobuf messages of reviews (`k8s.io/api/authorization/v1`, `k8s.io/api/authentication/v1`).
//! Clients send no `status`.

use std::collections::BTreeMap;

use super::messages;
use super::meta::{FieldSelectorRequirement, LabelSelectorRequirement, ObjectMeta};
use super::values::ExtraValue;

messages! {
    SelfSubjectAccessReview {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<SelfSubjectAccessReviewSpec> = (message, optional, tag = "2");
    }
    SelfSubjectAccessReviewSpec {
        resource_attributes: Option<ResourceAttributes> = (message, optional, tag = "1");
        non_resource_attributes: Option<NonResourceAttributes> = (message, optional, tag = "2");
    }
    SubjectAccessReview {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<SubjectAccessReviewSpec> = (message, optional, tag = "2");
    }
    SubjectAccessReviewSpec {
        resource_attributes: Option<ResourceAttributes> = (message, optional, tag = "1");
        non_resource_attributes: Option<NonResourceAttributes> = (message, optional, tag = "2");
        user: String = (string, tag = "3");
        groups: Vec<String> = (string, repeated, tag = "4");
        extra: BTreeMap<String, ExtraValue> = (btree_map = "string, message", tag = "5");
        uid: String = (string, tag = "6");
    }
    ResourceAttributes {
        namespace: String = (string, tag = "1");
        verb: String = (string, tag = "2");
        group: String = (string, tag = "3");
        version: String = (string, tag = "4");
        resource: String = (string, tag = "5");
        subresource: String = (string, tag = "6");
        name: String = (string, tag = "7");
        field_selector: Option<FieldSelectorAttributes> = (message, optional, tag = "8");
        label_selector: Option<LabelSelectorAttributes> = (message, optional, tag = "9");
    }
    NonResourceAttributes {
        path: String = (string, tag = "1");
        verb: String = (string, tag = "2");
    }
    FieldSelectorAttributes {
        raw_selector: String = (string, tag = "1");
        requirements: Vec<FieldSelectorRequirement> = (message, repeated, tag = "2");
    }
    LabelSelectorAttributes {
        raw_selector: String = (string, tag = "1");
        requirements: Vec<LabelSelectorRequirement> = (message, repeated, tag = "2");
    }
    SelfSubjectRulesReview {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<SelfSubjectRulesReviewSpec> = (message, optional, tag = "2");
    }
    SelfSubjectRulesReviewSpec {
        namespace: String = (string, tag = "1");
    }
    SelfSubjectReview {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
    }
    TokenReview {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<TokenReviewSpec> = (message, optional, tag = "2");
    }
    TokenReviewSpec {
        token: String = (string, tag = "1");
        audiences: Vec<String> = (string, repeated, tag = "2");
    }
    TokenRequest {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        spec: Option<TokenRequestSpec> = (message, optional, tag = "2");
    }
    TokenRequestSpec {
        audiences: Vec<String> = (string, repeated, tag = "1");
        expiration_seconds: Option<i64> = (int64, optional, tag = "4");
        bound_object_ref: Option<BoundObjectReference> = (message, optional, tag = "3");
    }
    BoundObjectReference {
        kind: String = (string, tag = "1");
        api_version: String = (string, tag = "2");
        name: String = (string, tag = "3");
        uid: String = (string, tag = "4");
    }
}
