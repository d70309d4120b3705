//! The approval write: PUT `/approval`, conditional on an unchanged resourceVersion.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::core::Status;
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::connection::WRITE_DEADLINE;
use super::error::{ApiError, describe, retry_after};
use super::objects::SlimRequest;
use super::raw_request::{self, Limited};
use super::required_rule::RequiredRule;
use super::shallow_value::ShallowValue;
use judge::csr::{CsrObject, KUBELET_SERVING_SIGNER, PreservedMetadata};
use judge::{Approval, Denial};

/// Maximum size of a request whose metadata and other conditions a write preserves, in bytes of JSON. A
/// kubelet's has a few kilobytes. A larger one would be held several times over here, and the API server
/// accepts no body of more than 3 MiB.
const MAX_PRESERVED_BYTES: usize = 256 * 1024;

/// A request that was re-read after a conflict, and its `spec.request`; `None` if it was deleted.
pub type CurrentRequest = Option<Box<(CsrObject, Vec<u8>)>>;

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition was written.
    Written,
    /// The request has changed since it was judged (409). It must be judged again in its current
    /// state.
    Changed(CurrentRequest),
    /// The request was deleted (404) or can no longer be written (413, 422).
    Gone(String),
    /// A permission is missing (403).
    Forbidden(String),
    /// The API server did not answer in time, failed, or asked for a retry later.
    Failed {
        /// The cause.
        why: String,
        /// The pause that the API server asked for (`retryAfterSeconds`).
        retry_after: Option<Duration>,
    },
    /// Nothing was sent: this replica does not hold the Lease.
    NotLeading,
}

impl Outcome {
    /// All values of the label `result` of the metric `writes_total`.
    pub const LABELS: [&str; 6] = [
        "written",
        "conflict",
        "gone",
        "forbidden",
        "failed",
        "not_leading",
    ];

    /// The value of the label `result` of the metric `writes_total`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Written => "written",
            Outcome::Changed(_) => "conflict",
            Outcome::Gone(_) => "gone",
            Outcome::Forbidden(_) => "forbidden",
            Outcome::Failed { .. } => "failed",
            Outcome::NotLeading => "not_leading",
        }
    }

    /// The cause of a failure, for the log; `None` for an outcome that needs no attention.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Gone(why) | Outcome::Forbidden(why) | Outcome::Failed { why, .. } => Some(why),
            Outcome::Written | Outcome::Changed(_) | Outcome::NotLeading => None,
        }
    }
}

/// Writes the condition Approved.
pub async fn approve(
    client: &Client,
    approval: &Approval,
    preserved: &PreservedMetadata,
) -> Outcome {
    let condition = condition(Approval::CONDITION, approval.reason(), approval.message());
    let version = approval.resource_version();
    write(
        client,
        approval.name(),
        approval.uid(),
        version,
        condition,
        preserved,
    )
    .await
}

/// Writes the condition Denied.
pub async fn deny(client: &Client, denial: &Denial, preserved: &PreservedMetadata) -> Outcome {
    let condition = condition(Denial::CONDITION, denial.reason(), denial.message());
    let version = denial.resource_version();
    write(
        client,
        denial.name(),
        denial.uid(),
        version,
        condition,
        preserved,
    )
    .await
}

/// Re-reads one request; `None` if it was deleted.
async fn read(client: &Client, name: &str) -> Result<Option<SlimRequest>, ApiError> {
    let request = raw_request::get(&requests(), name)?;
    match timeout(WRITE_DEADLINE, raw_request::response(client, request)).await {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(write_timeout()),
    }
}

fn condition(condition_type: &str, reason: &str, message: &str) -> Value {
    json!({"type": condition_type, "status": "True", "reason": reason, "message": message})
}

/// Writes a condition within [`WRITE_DEADLINE`], and re-reads the request after a conflict.
///
/// An update of `/approval` keeps the stored `spec` and certificate, but replaces metadata and
/// conditions (`pkg/registry/certificates/certificates`). Those of a kubelet's request are known;
/// any others are read right before the write.
///
/// One deadline covers the read and the write, because leadership may end soon after.
async fn write(
    client: &Client,
    name: &str,
    uid: &str,
    resource_version: &str,
    condition: Value,
    preserved: &PreservedMetadata,
) -> Outcome {
    let written = read_and_send(client, name, uid, resource_version, condition, preserved);
    match timeout(WRITE_DEADLINE, written).await {
        Ok(Outcome::Changed(_)) => match read(client, name).await {
            Ok(found) => Outcome::Changed(found.map(|request| Box::new(request.split()))),
            Err(error) => Outcome::Failed {
                why: error.to_string(),
                retry_after: None,
            },
        },
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed {
            why: write_timeout().to_string(),
            retry_after: None,
        },
    }
}

async fn read_and_send(
    client: &Client,
    name: &str,
    uid: &str,
    resource_version: &str,
    condition: Value,
    preserved: &PreservedMetadata,
) -> Outcome {
    let mut metadata = Map::new();
    let mut conditions = Vec::new();
    let stored = match preserved.has_more {
        true => match read_stored(client, name).await {
            Ok(stored) => stored,
            Err(outcome) => return outcome,
        },
        false => None,
    };
    if let Some(Stored {
        metadata: stored,
        status,
    }) = stored
    {
        if let Value::Object(stored) = stored.0 {
            metadata = stored;
            // The API server keeps its own in an update of a subresource.
            metadata.remove("managedFields");
        }
        if let Some(Value::Array(stored)) = status.conditions.map(|conditions| conditions.0) {
            conditions = stored;
        }
    } else {
        metadata.insert("name".into(), name.into());
        metadata.insert("generateName".into(), (*preserved.generate_name).into());
    }
    // Conditional on the state that was judged, not on the state that was just read.
    metadata.insert("uid".into(), uid.into());
    metadata.insert("resourceVersion".into(), resource_version.into());
    conditions.push(condition);
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": metadata,
        "status": {"conditions": conditions},
    });
    let bytes = body.to_string().into_bytes();
    let request = raw_request::put_subresource(&requests(), name, "approval", bytes);
    let request = match request {
        Ok(request) => request,
        Err(error) => return unaddressable(&error),
    };
    match raw_request::without_response(client, request).await {
        Ok(()) => Outcome::Written,
        Err(error) => outcome(&error),
    }
}

/// The part of a request that a write must preserve.
#[derive(Deserialize)]
struct Stored {
    metadata: ShallowValue,
    #[serde(default)]
    status: StoredStatus,
}

#[derive(Default, Deserialize)]
struct StoredStatus {
    conditions: Option<ShallowValue>,
}

/// The outcome for a name of tens of kilobytes: no client can address the object.
fn unaddressable(error: &kube::Error) -> Outcome {
    Outcome::Gone(error.to_string())
}

fn requests() -> String {
    CertificateSigningRequest::url_path(&(), None)
}

/// Reads what a write must preserve; `None` for a request that is larger than [`MAX_PRESERVED_BYTES`].
async fn read_stored(client: &Client, name: &str) -> Result<Option<Stored>, Outcome> {
    let request = raw_request::get(&requests(), name).map_err(|error| unaddressable(&error))?;
    let answer = raw_request::limited_response(client, request, MAX_PRESERVED_BYTES).await;
    match answer.map_err(|error| outcome(&error))? {
        Limited::TooLarge => Ok(None),
        Limited::Whole(body) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| outcome(&kube::Error::SerdeError(error))),
    }
}

fn outcome(error: &kube::Error) -> Outcome {
    match api_status(error).map_or(0, |status| status.code) {
        409 => Outcome::Changed(None),
        404 | 413 | 422 => Outcome::Gone(describe(error)),
        403 => {
            let why = describe(error);
            let rule = required_rule(&why);
            Outcome::Forbidden(format!("{why}; {rule}"))
        }
        _ => Outcome::Failed {
            why: describe(error),
            retry_after: retry_after(error),
        },
    }
}

/// The rule that a write lacks which the API server has refused for this reason.
fn required_rule(why: &str) -> RequiredRule {
    const GROUP: &str = "certificates.k8s.io";
    if why.contains("signerName") {
        RequiredRule::in_cluster_role(GROUP, "signers", Some(KUBELET_SERVING_SIGNER), &["approve"])
    } else if why.contains("/approval") {
        let resource = "certificatesigningrequests/approval";
        RequiredRule::in_cluster_role(GROUP, resource, None, &["update"])
    } else {
        RequiredRule::in_cluster_role(GROUP, "certificatesigningrequests", None, &["get"])
    }
}

fn api_status(error: &kube::Error) -> Option<&Status> {
    if let kube::Error::Api(status) = error {
        Some(status)
    } else {
        None
    }
}

fn write_timeout() -> ApiError {
    ApiError::Deadline(WRITE_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_that_of_an_outcome() {
        let outcomes = [
            Outcome::Written,
            Outcome::Changed(None),
            Outcome::Gone(String::new()),
            Outcome::Forbidden(String::new()),
            Outcome::Failed {
                why: String::new(),
                retry_after: None,
            },
            Outcome::NotLeading,
        ];
        assert_eq!(outcomes.map(|outcome| outcome.as_str()), Outcome::LABELS);
    }
}
