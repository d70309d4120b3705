//! Names of requests on the command line.

use thiserror::Error;

/// Resource names that kubectl prints and accepts before `/NAME`.
const RESOURCES: [&str; 5] = [
    "csr",
    "certificatesigningrequest",
    "certificatesigningrequests",
    "certificatesigningrequest.certificates.k8s.io",
    "certificatesigningrequests.certificates.k8s.io",
];

/// Error for an argument that is not a request's name.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("expected the name of a CertificateSigningRequest, such as csr-x7k2p")]
pub(super) struct NotAName;

/// Parses `NAME` or `csr/NAME`, and returns `NAME`.
pub(super) fn request_name(text: &str) -> Result<String, NotAName> {
    let name = match text.split_once('/') {
        Some((resource, name)) if RESOURCES.contains(&resource) => name,
        _ => text,
    };
    // The API server's rule for the name of any object.
    if matches!(name, "" | "." | "..") || name.contains(['/', '%']) {
        return Err(NotAName);
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_kubectl_writes_them() {
        for text in [
            "csr-x7k2p",
            "csr/csr-x7k2p",
            "certificatesigningrequests/csr-x7k2p",
            "certificatesigningrequest.certificates.k8s.io/csr-x7k2p",
        ] {
            assert_eq!(request_name(text).as_deref(), Ok("csr-x7k2p"), "{text}");
        }
        for text in [
            "",
            "csr/",
            "node/x",
            "csr/a/b",
            "csr/csr/a",
            "/a",
            "..",
            "a%2fb",
        ] {
            assert!(request_name(text).is_err(), "{text}");
        }
    }
}
