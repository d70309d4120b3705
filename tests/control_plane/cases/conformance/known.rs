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

/// Differences in answers.
pub const ANSWERS: &[Known] = &[];

/// Differences in exit codes of kubectl.
pub const KUBECTL: &[Known] = &[Known {
    fact: "explain csr.spec",
    original: 0,
    embedded: 1,
    reason: "the only OpenAPI document describes nothing",
}];
