//! Known differences between the embedded API server and kube-apiserver. Each is accepted for its reason
//! and tested to be exactly as listed here: one that has disappeared must be removed.

use serde_json::Value;

/// A fact that is a number, and differs.
pub struct Known {
    /// The name of the fact.
    pub fact: &'static str,
    /// The HTTP status or exit code of the original.
    pub original: i32,
    /// The HTTP status or exit code of the embedded server.
    pub embedded: i32,
    /// Why the difference is accepted.
    pub reason: &'static str,
}

impl Known {
    /// The entry for a fact.
    pub fn find<'a>(known: &'a [Known], fact: &str) -> Option<&'a Known> {
        known.iter().find(|one| one.fact == fact)
    }

    /// Checks that the difference is the one that is listed.
    pub fn is(&self, original: &Value, embedded: &Value) -> bool {
        *original == self.original && *embedded == self.embedded
    }
}

const PROTOBUF: &str = "only requests, reviews and token requests are read in protobuf";

/// Differences in answers.
pub const ANSWERS: &[Known] = &[Known {
    fact: "protobuf: v1 ConfigMap",
    original: 201,
    embedded: 415,
    reason: PROTOBUF,
}];

/// Differences in exit codes of kubectl.
pub const KUBECTL: &[Known] = &[
    fails("create namespace made", PROTOBUF),
    fails("create configmap made --from-literal=a=b", PROTOBUF),
    fails("create secret generic made --from-literal=a=b", PROTOBUF),
    fails("create serviceaccount other", PROTOBUF),
    fails(
        "create service externalname made --external-name=example.com",
        PROTOBUF,
    ),
    fails(
        "create role made --verb=get --resource=configmaps",
        PROTOBUF,
    ),
    fails("auth reconcile -f role.json", PROTOBUF),
    fails(
        "explain csr.spec",
        "the only OpenAPI document describes nothing",
    ),
];

const fn fails(fact: &'static str, reason: &'static str) -> Known {
    Known {
        fact,
        original: 0,
        embedded: 1,
        reason,
    }
}
