//! The one write that matters: PUT `/approval`, on condition that nothing has changed.

use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, GetParams, PostParams, Request};
use kube::core::Status;
use kube::{Client, Resource};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::connection::WRITE_DEADLINE;
use super::error::{ApiError, describe};
use super::objects::SlimRequest;
use judge::csr::{Kept, Object};
use judge::{Approval, Denial};

/// A request as it was read after a conflict, with its bytes; `None` if it is gone.
pub type CurrentRequest = Option<Box<(Object, Vec<u8>)>>;

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition is there.
    Written,
    /// The request has changed since it was judged (409): judge it again, as it is now.
    Changed(CurrentRequest),
    /// The request is gone (404) or cannot be written any more (422).
    Gone(String),
    /// A permission is missing (403).
    Forbidden(String),
    /// The API server did not answer, or not in time, or asked to come back later.
    Failed {
        /// What happened.
        why: String,
        /// How long the API server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Nothing was sent: this replica does not lead any more.
    NotLeading,
}

impl Outcome {
    /// Every label of the metric `writes_total`.
    pub const LABELS: [&str; 6] = [
        "written",
        "conflict",
        "gone",
        "forbidden",
        "failed",
        "not_leading",
    ];

    /// The label of the metric `writes_total`.
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

    /// What an administrator should know of it.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Gone(why) | Outcome::Forbidden(why) | Outcome::Failed { why, .. } => Some(why),
            Outcome::Written | Outcome::Changed(_) | Outcome::NotLeading => None,
        }
    }
}

/// Writes the condition Approved.
pub async fn approve(client: &Client, approval: &Approval, kept: &Kept) -> Outcome {
    let condition = condition(Approval::CONDITION, approval.reason(), approval.message());
    let version = approval.resource_version();
    write(
        client,
        approval.name(),
        approval.uid(),
        version,
        condition,
        kept,
    )
    .await
}

/// Writes the condition Denied.
pub async fn deny(client: &Client, denial: &Denial, kept: &Kept) -> Outcome {
    let condition = condition(Denial::CONDITION, denial.reason(), denial.message());
    let version = denial.resource_version();
    write(
        client,
        denial.name(),
        denial.uid(),
        version,
        condition,
        kept,
    )
    .await
}

/// Reads one request afresh; `None` if it is gone.
async fn read(client: &Client, name: &str) -> Result<Option<SlimRequest>, ApiError> {
    let api: Api<SlimRequest> = Api::all(client.clone());
    match timeout(WRITE_DEADLINE, api.get_opt(name)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(write_timeout()),
    }
}

fn condition(condition_type: &str, reason: &str, message: &str) -> Value {
    json!({"type": condition_type, "status": "True", "reason": reason, "message": message})
}

/// In an update of `/approval` the API server keeps its own `spec` and certificate, but takes
/// metadata and conditions as they are sent (`pkg/registry/certificates/certificates`). What a
/// kubelet's request has of these is known; more than that is read right before.
///
/// All of it has one deadline: the right to write may end soon after.
async fn write(
    client: &Client,
    name: &str,
    uid: &str,
    resource_version: &str,
    condition: Value,
    kept: &Kept,
) -> Outcome {
    let written = read_and_send(client, name, uid, resource_version, condition, kept);
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
    kept: &Kept,
) -> Outcome {
    let mut metadata = Map::new();
    let mut conditions = Vec::new();
    if kept.has_more {
        let request = requests().get(name, &GetParams::default());
        let full: Value = match send(client, request).await {
            Ok(full) => full,
            Err(outcome) => return outcome,
        };
        if let Some(present) = full.get("metadata").and_then(Value::as_object) {
            metadata.clone_from(present);
        }
        if let Some(present) = full.pointer("/status/conditions").and_then(Value::as_array) {
            conditions.clone_from(present);
        }
    } else {
        metadata.insert("name".into(), name.into());
        metadata.insert("generateName".into(), (*kept.generate_name).into());
    }
    // Whatever was read just now: only if it is still the state that was judged.
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
    let request = requests().replace_subresource("approval", name, &PostParams::default(), bytes);
    match send::<IgnoredAny>(client, request).await {
        Ok(_) => Outcome::Written,
        Err(outcome) => outcome,
    }
}

fn requests() -> Request {
    Request::new(CertificateSigningRequest::url_path(&(), None))
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T, Outcome> {
    let request = request.map_err(|error| Outcome::Gone(error.to_string()))?;
    let answer = client.request(request).await;
    answer.map_err(|error| outcome(&error))
}

fn outcome(error: &kube::Error) -> Outcome {
    match api_status(error).map_or(0, |status| status.code) {
        409 => Outcome::Changed(None),
        404 | 422 => Outcome::Gone(describe(error)),
        403 => Outcome::Forbidden(describe(error)),
        _ => Outcome::Failed {
            why: describe(error),
            retry_after: retry_after(error),
        },
    }
}

fn retry_after(error: &kube::Error) -> Option<Duration> {
    let details = api_status(error)?.details.as_ref()?;
    Some(Duration::from_secs(details.retry_after_seconds.into())).filter(|after| !after.is_zero())
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
