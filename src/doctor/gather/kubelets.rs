//! Facts about each kubelet, from its port and through the API server's proxy, with bounded
//! concurrency.

use futures::{AsyncReadExt as _, StreamExt as _};
use serde::Deserialize;
use std::sync::atomic::Ordering;
use tokio::time::timeout;

use super::kubelet_tls::Dialer;
use super::reader::Reader;
use super::{Options, Progress};
use crate::cluster::connection::Connection;
use crate::cluster::error::describe;
use crate::doctor::facts::{DialResult, Kubelet, Node, Proxied, ReadFailure};

/// Maximum size of a response, in bytes; larger than any kubelet's configuration.
const MAX_BYTES: u64 = 1024 * 1024;

/// Go's text of the alert of a kubelet without a certificate (`crypto/tls/alert.go`). The API
/// server passes on the error of its own client only as text.
const INTERNAL_ERROR_ALERT: &str = "tls: internal error";
/// Prefix of Go's text for a certificate that is not trusted (`crypto/x509/verify.go`).
const VERIFIER_PREFIX: &str = "x509: ";

/// The used part of the response of `/configz`.
#[derive(Deserialize)]
struct Configz {
    kubeletconfig: Configuration,
}

#[derive(Deserialize)]
struct Configuration {
    /// The kubelet omits the field if it is false.
    #[serde(default, rename = "serverTLSBootstrap")]
    bootstrap: bool,
}

pub(super) async fn kubelets(
    reader: &Reader,
    connection: &Connection,
    options: &Options,
    nodes: Result<&[Node], &ReadFailure>,
    progress: &Progress,
) -> Vec<Kubelet> {
    let nodes = nodes.unwrap_or_default();
    let sample = sample(nodes, options.nodes);
    progress.total.store(sample.len(), Ordering::Relaxed);
    let of_cluster = || connection.config.root_cert.clone().unwrap_or_default();
    let authorities = match options.kubelet_authorities.as_slice() {
        [] => of_cluster(),
        named => named.to_vec(),
    };
    let dialer = Dialer::new(&authorities, options.deadline);
    let mut kubelets: Vec<Kubelet> = futures::stream::iter(sample)
        .map(|node| async {
            let dialed = async {
                match (node.address, node.port) {
                    (Some(address), Some(port)) => dialer.dial(address, port).await,
                    (None, _) => DialResult::Failed("its Node has no InternalIP".into()),
                    (_, None) => DialResult::Failed("its Node has no port of a kubelet".into()),
                }
            };
            let (dialed, proxied) = tokio::join!(dialed, proxied(reader, &node.name));
            progress.done.fetch_add(1, Ordering::Relaxed);
            Kubelet {
                node: node.name.clone(),
                dialed,
                proxied,
            }
        })
        .buffer_unordered(options.concurrency.max(1))
        .collect()
        .await;
    kubelets.sort_unstable_by(|a, b| a.node.cmp(&b.node));
    kubelets
}

/// A sample of `most` nodes, spread over the whole list: neighbors in it are often alike.
fn sample(nodes: &[Node], most: Option<usize>) -> Vec<&Node> {
    let most = most.unwrap_or(nodes.len()).min(nodes.len());
    (0..most)
        .filter_map(|at| nodes.get(at * nodes.len() / most))
        .collect()
}

/// Reads the configuration of a running kubelet.
async fn proxied(reader: &Reader, node: &str) -> Proxied {
    let answer = timeout(reader.deadline, configz(reader, node)).await;
    let error = match answer {
        Ok(Ok(text)) => {
            return match serde_json::from_slice::<Configz>(&text) {
                Ok(configz) => Proxied::Bootstrap(configz.kubeletconfig.bootstrap),
                Err(error) => Proxied::Failed(format!("its configuration: {error}")),
            };
        }
        Ok(Err(error)) => error,
        Err(_) => {
            let seconds = reader.deadline.as_secs();
            return Proxied::Failed(format!("no answer within {seconds} s"));
        }
    };
    let kube::Error::Api(status) = &error else {
        return Proxied::Failed(describe(&error));
    };
    let message = &status.message;
    if message.contains(INTERNAL_ERROR_ALERT) {
        Proxied::NoCertificate
    } else if let Some(at) = message.find(VERIFIER_PREFIX) {
        Proxied::NotTrusted(message.get(at..).unwrap_or(message).to_owned())
    } else if status.code == 403 {
        Proxied::Forbidden(message.clone())
    } else {
        Proxied::Failed(describe(&error))
    }
}

async fn configz(reader: &Reader, node: &str) -> kube::Result<Vec<u8>> {
    let path = format!("/api/v1/nodes/{node}/proxy/configz");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let stream = reader.client.request_stream(request).await?;
    let mut stream = std::pin::pin!(stream.take(MAX_BYTES));
    let mut text = Vec::new();
    stream
        .read_to_end(&mut text)
        .await
        .map_err(|error| kube::Error::Service(error.into()))?;
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        let nodes: Vec<Node> = (0..10)
            .map(|i| Node {
                name: i.to_string(),
                address: None,
                port: Some(10250),
                control_plane: false,
                sign_labels: Vec::new(),
                os_image: None,
                provider_id: None,
            })
            .collect();
        let names = |most| -> Vec<&str> {
            let sample = sample(&nodes, most);
            sample.into_iter().map(|node| node.name.as_str()).collect()
        };
        assert_eq!(names(Some(3)), ["0", "3", "6"]);
        assert_eq!(names(Some(0)), [""; 0]);
        assert_eq!(names(None).len(), 10);
        assert_eq!(names(Some(99)).len(), 10);
    }
}
