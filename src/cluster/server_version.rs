//! The version of the API server.

use std::pin::pin;

use futures::AsyncReadExt as _;
use http::Request;
use kube::Client;
use serde::Deserialize;

/// The used part of the response of `/version`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    git_version: String,
}

/// Maximum size of a response, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the version of the API server, such as `v1.36.2`. No permission is needed for it.
pub async fn server_version(client: &Client) -> kube::Result<String> {
    let request = Request::get("/version").body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let stream = client.request_stream(request).await?;
    let mut text = Vec::new();
    let mut stream = pin!(stream.take(MAX_BYTES));
    stream
        .read_to_end(&mut text)
        .await
        .map_err(|error| kube::Error::Service(error.into()))?;
    let answer = serde_json::from_slice::<Answer>(&text);
    Ok(answer.map_err(kube::Error::SerdeError)?.git_version)
}
