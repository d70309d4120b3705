//! A single request to the API server whose response the caller decodes.

use kube::Client;
use kube::core::request;

/// Sends the request and returns the text of the response.
pub async fn response_text(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> kube::Result<String> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await
}
