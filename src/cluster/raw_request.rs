//! One request to the API server, whose answer the caller reads.

use kube::Client;
use kube::core::request;

/// The text of the answer.
pub async fn response_text(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> kube::Result<String> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await
}
