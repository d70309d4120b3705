//! Facts about the API server: its version, its clock, and its support of ServiceCIDR.

use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;
use tokio::time::timeout;

use super::reader::{Reader, Right, path, status};
use crate::cluster::clock::{Clock, Offset};
use crate::cluster::error::{ApiError, describe};
use crate::cluster::server_time::QUICK;
use crate::cluster::server_version::server_version;
use crate::doctor::facts::Known;

const VERSION: Right<'static> = Right::new("get", "/version");

/// Reads the version and the clock offset. Fails if the API server cannot be reached or rejects the
/// credential.
pub(super) async fn version(
    reader: &Reader,
    clock: &Clock,
) -> Result<(Known<String>, Known<Offset>), ApiError> {
    let request = http::Request::get("/version").body(Body::empty());
    let request = request.map_err(kube::Error::HttpError)?;
    let response = timeout(reader.deadline, reader.client.send(request))
        .await
        .map_err(|_| ApiError::Deadline(reader.deadline))??;
    if response.status() == http::StatusCode::UNAUTHORIZED {
        return Err(ApiError::Unauthorized);
    }
    // The client has learned the time from the answer.
    let offset = clock.offset().ok_or_else(|| {
        let seconds = QUICK.as_secs();
        VERSION.failure(false, format!("no answer with a Date within {seconds} s"))
    });
    let answer = server_version(&reader.client);
    let version = match reader.within(VERSION, answer).await {
        Ok(Ok(version)) => Ok(version),
        Ok(Err(error)) => Err(VERSION.failure(status(&error) == 403, describe(&error))),
        Err(failure) => Err(failure),
    };
    Ok((version, offset))
}

/// Returns true if the API server serves ServiceCIDR objects.
pub(super) async fn service_cidrs(reader: &Reader) -> Known<bool> {
    let right = Right::new("list", "servicecidrs.networking.k8s.io");
    let request = Request::new(path::<ServiceCIDR>(None)).list(&ListParams::default().limit(1));
    match reader.text(right, request).await? {
        Ok(_) => Ok(true),
        Err(error) if status(&error) == 404 => Ok(false),
        Err(error) => Err(right.failed(&error)),
    }
}
