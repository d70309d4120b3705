//! The version of csr-warden's own file formats.

/// `apiVersion` of policies and inventories.
pub const API_VERSION: &str = "csr-warden.dev/v1beta1";

/// `apiVersion` of the same formats before version 0.1.0. Only the name differs.
pub(crate) const FORMER_API_VERSION: &str = "csr-warden/v1";
