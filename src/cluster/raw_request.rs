//! Single requests to the API server whose response the caller decodes.

use std::pin::pin;

use futures::AsyncReadExt as _;
use futures::io::{copy, sink};
use http::Request;
use kube::Client;
use kube::core::request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{DeserializeOwned, Error as _};

/// Characters of an object's name that a path segment may contain as they are (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Maximum size of a response with one object, in bytes. etcd stores at most 1.5 MB of it, of which
/// JSON can need six bytes for one.
pub const MAX_OBJECT_BYTES: usize = 16 * 1024 * 1024;

/// The path of one object, below the path of its collection.
///
/// Kubernetes accepts any name without `/` and `%`, and kube does not encode names: `x?y` would be
/// the object `x`.
pub fn object_path(collection: &str, name: &str) -> String {
    format!("{collection}/{}", utf8_percent_encode(name, ENCODED))
}

/// Builds a request that reads the object of this name.
pub fn get(collection: &str, name: &str) -> kube::Result<Request<Vec<u8>>> {
    let request = Request::get(object_path(collection, name));
    request.body(Vec::new()).map_err(kube::Error::HttpError)
}

/// Builds a request that replaces a subresource of the object of this name.
pub fn put_subresource(
    collection: &str,
    name: &str,
    subresource: &str,
    body: Vec<u8>,
) -> kube::Result<Request<Vec<u8>>> {
    let path = format!("{}/{subresource}", object_path(collection, name));
    let request = Request::put(path).header(http::header::CONTENT_TYPE, "application/json");
    request.body(body).map_err(kube::Error::HttpError)
}

/// Sends the request and returns the text of the response.
pub async fn response_text(
    client: &Client,
    request: Result<Request<Vec<u8>>, request::Error>,
) -> kube::Result<String> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await
}

/// Sends the request and decodes the response.
pub async fn response<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<T> {
    // `Client::request` would hold the response twice, and log what it cannot decode.
    match limited_response(client, request, MAX_OBJECT_BYTES).await? {
        Limited::Whole(body) => serde_json::from_slice(&body).map_err(kube::Error::SerdeError),
        Limited::TooLarge => Err(too_large(MAX_OBJECT_BYTES)),
    }
}

/// Sends the request and drops the response while it arrives, so that the connection can be used
/// again.
pub async fn without_response(client: &Client, request: Request<Vec<u8>>) -> kube::Result<()> {
    let stream = pin!(client.request_stream(request).await?);
    let copied = copy(stream, &mut sink()).await;
    copied.map_err(kube::Error::ReadEvents).map(drop)
}

/// A response, or the fact that it is larger than allowed.
#[derive(Debug)]
pub enum Limited {
    /// The whole response.
    Whole(Vec<u8>),
    /// The response is larger. Its rest was not read.
    TooLarge,
}

/// Sends the request and reads a response of at most this many bytes.
pub async fn limited_response(
    client: &Client,
    request: Request<Vec<u8>>,
    max_bytes: usize,
) -> kube::Result<Limited> {
    let stream = client.request_stream(request).await?;
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let mut stream = pin!(stream.take(limit.saturating_add(1)));
    let mut body = Vec::new();
    let read = stream.read_to_end(&mut body).await;
    read.map_err(kube::Error::ReadEvents)?;
    Ok(if body.len() > max_bytes {
        Limited::TooLarge
    } else {
        Limited::Whole(body)
    })
}

/// The error for a response that is larger than allowed.
pub fn too_large(max_bytes: usize) -> kube::Error {
    let mebibytes = max_bytes / (1024 * 1024);
    kube::Error::SerdeError(serde_json::Error::custom(format!(
        "expected at most {mebibytes} MiB, found more"
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        for (name, expected) in [
            ("csr-x7k2p", "/c/csr-x7k2p"),
            ("node-csr.a_b~c", "/c/node-csr.a_b~c"),
            ("a b", "/c/a%20b"),
            ("x?y", "/c/x%3Fy"),
            ("plain#f", "/c/plain%23f"),
            ("\u{1b}]0;\n", "/c/%1B%5D0%3B%0A"),
            ("é", "/c/%C3%A9"),
        ] {
            assert_eq!(object_path("/c", name), expected);
            let put = put_subresource("/c", name, "approval", Vec::new()).unwrap();
            assert_eq!(put.uri().path(), format!("{expected}/approval"));
            assert_eq!(put.uri().query(), None);
        }
    }
}
