//! Known differences between the embedded API server and kube-apiserver. Each has a reason and must
//! be exactly as listed. One that has disappeared must be removed.

use serde_json::Value;

/// A recorded number that differs.
pub struct KnownDifference {
    /// The name of the fact.
    pub fact: &'static str,
    /// The HTTP status or exit code of kube-apiserver.
    pub original: i32,
    /// The HTTP status or exit code of the embedded API server.
    pub embedded: i32,
    /// The reason to accept the difference.
    pub reason: &'static str,
}

impl KnownDifference {
    /// Returns the entry of a fact.
    pub fn find<'a>(known: &'a [KnownDifference], fact: &str) -> Option<&'a KnownDifference> {
        known.iter().find(|one| one.fact == fact)
    }

    /// Checks that the difference is the listed one.
    pub fn is(&self, original: &Value, embedded: &Value) -> bool {
        *original == self.original && *embedded == self.embedded
    }
}

const PROTOBUF: &str = "only requests, reviews and token requests are read in protobuf";
const UNVERIFIED: &str =
    "a signature of an algorithm that x509-parser does not support is let through";
const LENIENT: &str = "x509-parser does not check it";
const STRICT: &str = "x509-parser is stricter than Go";
const SHORT_KEY: &str = "ring verifies no RSA key of less than 2048 bits with SHA-256";

/// Differences in responses.
pub const ANSWERS: &[KnownDifference] = &[
    KnownDifference {
        fact: "protobuf: v1 ConfigMap",
        original: 201,
        embedded: 415,
        reason: PROTOBUF,
    },
    accepts("csr: forgery: RSA with MD5", UNVERIFIED),
    accepts("csr: forgery: curve secp256k1", UNVERIFIED),
    accepts("csr: key BrainpoolP256", UNVERIFIED),
    accepts("csr: key Dsa2048", UNVERIFIED),
    accepts("csr: key Ed448", UNVERIFIED),
    accepts("csr: key P256Explicit", UNVERIFIED),
    accepts("csr: key Rsa2048Md5", UNVERIFIED),
    accepts("csr: key Secp256k1", UNVERIFIED),
    accepts("csr: forgery: a long-form length", LENIENT),
    accepts("csr: forgery: a name that is not ASCII", LENIENT),
    accepts("csr: forgery: a second extensionRequest", LENIENT),
    accepts("csr: forgery: an IP address with a mask", LENIENT),
    accepts("csr: forgery: the SAN twice", LENIENT),
    refused("csr: forgery: PEM headers", STRICT),
    refused("csr: forgery: bytes at the end of what is signed", STRICT),
    refused("csr: forgery: RSA of 1024 bits", SHORT_KEY),
    refused("csr: key Rsa1024", SHORT_KEY),
];

/// Differences in exit codes of kubectl.
pub const KUBECTL: &[KnownDifference] = &[
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

/// A request that kube-apiserver rejects at creation and the embedded API server stores.
const fn accepts(fact: &'static str, reason: &'static str) -> KnownDifference {
    KnownDifference {
        fact,
        original: 422,
        embedded: 201,
        reason,
    }
}

/// A request that the embedded API server rejects at creation and kube-apiserver stores.
const fn refused(fact: &'static str, reason: &'static str) -> KnownDifference {
    KnownDifference {
        fact,
        original: 201,
        embedded: 422,
        reason,
    }
}

/// A command that succeeds with kube-apiserver and fails with the embedded API server.
const fn fails(fact: &'static str, reason: &'static str) -> KnownDifference {
    KnownDifference {
        fact,
        original: 0,
        embedded: 1,
        reason,
    }
}
