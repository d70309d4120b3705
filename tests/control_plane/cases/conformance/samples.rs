//! A sample of each kind that is supported in protobuf, with every field that kube-apiserver
//! accepts, and of one kind that is not.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::exchange::{CSRS, MAPS};
use control_plane::pki;

/// Returns each sample with the path at which a dry run creates it.
pub fn all() -> Result<Vec<(String, Value)>> {
    let group = |group: &str| format!("/apis/{group}/v1");
    let rights = group("authorization.k8s.io");
    let in_default = format!("{rights}/namespaces/default");
    let mut samples = vec![
        (CSRS.to_owned(), request()?),
        (MAPS.to_owned(), config_map()),
    ];
    for (_, sample) in &mut samples {
        sample["metadata"] = metadata();
    }
    samples.extend([
        (
            format!("{rights}/selfsubjectaccessreviews"),
            self_access_review(),
        ),
        (
            format!("{rights}/subjectaccessreviews"),
            access_review("SubjectAccessReview"),
        ),
        (
            format!("{in_default}/localsubjectaccessreviews"),
            access_review("LocalSubjectAccessReview"),
        ),
        (format!("{rights}/selfsubjectrulesreviews"), rules_review()),
        (
            group("authentication.k8s.io") + "/tokenreviews",
            token_review(),
        ),
    ]);
    let dry = |(path, sample)| (format!("{path}?dryRun=All"), sample);
    Ok(samples.into_iter().map(dry).collect())
}

fn metadata() -> Value {
    json!({
        "name": "conf-pb-sample",
        "labels": {"a": "1", "empty": ""},
        "annotations": {"example.com/a": "ä\n\u{1F600}"},
        "finalizers": ["example.com/held"],
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y",
            "controller": false, "blockOwnerDeletion": true,
        }],
    })
}

fn request() -> Result<Value> {
    let pem = pki::request("system:node:conf-1", &["system:nodes"])?;
    Ok(json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "expirationSeconds": 86_400,
            "usages": ["digital signature", "server auth"],
        },
    }))
}

/// The kind that the embedded API server does not support in protobuf.
pub const NOT_READ: &str = "ConfigMap";

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": NOT_READ, "data": {"a": "b"}})
}

fn self_access_review() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}},
    })
}

fn access_review(kind: &str) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": kind,
        "spec": {
            "user": "system:node:conf-1", "groups": ["system:nodes"], "uid": "u",
            "extra": {"example.com/a": ["b", "c"]},
            "resourceAttributes": {
                "namespace": "default", "verb": "get", "group": "", "version": "v1",
                "resource": "nodes", "subresource": "status", "name": "conf-1",
            },
        },
    })
}

fn rules_review() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "default"},
    })
}

fn token_review() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": "words", "audiences": ["a", "b"]},
    })
}
