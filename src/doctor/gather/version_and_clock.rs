//! Facts about the API server: its version, its clock, and its support of ServiceCIDR.

use futures::AsyncReadExt as _;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;
use serde::Deserialize;
use tokio::time::timeout;

use super::reader::{Reader, Right, path, status};
use crate::cluster::error::{ApiError, describe};
use crate::doctor::facts::{ClockOffset, Known};

/// The used part of the response of `/version`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

const VERSION: Right = Right("get", "/version");
/// Maximum size of a response, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the version and the clock offset. Fails if the API server cannot be reached or rejects the
/// credential.
pub(super) async fn version(
    reader: &Reader,
) -> Result<(Known<String>, Known<ClockOffset>), ApiError> {
    let before = reader.clock.now();
    let request = http::Request::get("/version").body(Body::empty());
    let request = request.map_err(kube::Error::HttpError)?;
    let response = timeout(reader.deadline, reader.client.send(request))
        .await
        .map_err(|_| ApiError::Deadline(reader.deadline))??;
    let took = before.instant.elapsed();
    if response.status() == http::StatusCode::UNAUTHORIZED {
        return Err(ApiError::Unauthorized);
    }
    let date = response.headers().get(http::header::DATE);
    let date = date
        .and_then(|date| date.to_str().ok())
        .and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let clock = date
        .map(|date| compare(before.wall, took, date))
        .ok_or_else(|| VERSION.failure(false, "the API server's answer has no Date"));
    let request = http::Request::get("/version").body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let answer = async {
        let stream = reader.client.request_stream(request).await?;
        let mut text = Vec::new();
        let mut stream = std::pin::pin!(stream.take(MAX_BYTES));
        stream
            .read_to_end(&mut text)
            .await
            .map_err(|error| kube::Error::Service(error.into()))?;
        serde_json::from_slice::<Version>(&text).map_err(kube::Error::SerdeError)
    };
    let version = match reader.within(VERSION, answer).await {
        Ok(Ok(version)) => Ok(version.git_version),
        Ok(Err(error)) => Err(VERSION.failure(status(&error) == 403, describe(&error))),
        Err(failure) => Err(failure),
    };
    Ok((version, clock))
}

/// The offset of a clock whose `Date` header was written at an unknown moment of the round trip,
/// rounded down to a second.
fn compare(before: Timestamp, took: std::time::Duration, date: Timestamp) -> ClockOffset {
    let half = SignedDuration::try_from(took / 2).unwrap_or_default();
    let half_second = SignedDuration::from_millis(500);
    let ours = before.checked_add(half).unwrap_or(before);
    let theirs = date.checked_add(half_second).unwrap_or(date);
    ClockOffset {
        ahead: theirs.duration_since(ours),
        uncertainty: half + half_second,
    }
}

/// Returns true if the API server serves ServiceCIDR objects.
pub(super) async fn service_cidrs(reader: &Reader) -> Known<bool> {
    let right = Right("list", "servicecidrs.networking.k8s.io");
    let request = Request::new(path::<ServiceCIDR>(None)).list(&ListParams::default().limit(1));
    match reader.text(right, request).await? {
        Ok(_) => Ok(true),
        Err(error) if status(&error) == 404 => Ok(false),
        Err(error) => Err(right.failed(&error)),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_clocks_differ_by_less_than_the_uncertainty() {
        let before: Timestamp = "2026-07-24T12:00:00.9Z".parse().unwrap();
        let date = DateTimeParser::new()
            .parse_timestamp("Fri, 24 Jul 2026 12:00:00 GMT")
            .unwrap();
        let clock = compare(before, std::time::Duration::from_millis(20), date);
        assert!(clock.ahead.abs() <= clock.uncertainty, "{clock:?}");
        let late = date.checked_add(SignedDuration::from_secs(90)).unwrap();
        let clock = compare(before, std::time::Duration::from_millis(20), late);
        assert_eq!(clock.ahead.as_secs(), 89);
    }
}
