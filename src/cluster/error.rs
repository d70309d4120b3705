//! Errors of requests to the API server, described in one sentence each.

use std::error::Error;
use std::io;
use std::time::Duration;

use kube::core::Status;
use rustls::CertificateError;
use thiserror::Error;
use tokio::time::error::Elapsed;

use super::tls_connector::NotValidNow;

/// A request to the API server that failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The credential is unknown or has expired (401).
    #[error("the API server does not accept the credential (401 Unauthorized)")]
    Unauthorized,
    /// A permission is missing (403); this is the API server's message.
    #[error("a permission is missing: {0}")]
    Forbidden(String),
    /// The API server does not serve the path (404), as opposed to a missing object.
    #[error("the API server does not serve it (404)")]
    NotServed,
    /// Any other status that is not success.
    #[error("the API server answered {code}: {message}")]
    Status {
        /// HTTP status code.
        code: u16,
        /// The API server's message.
        message: String,
    },
    /// The response cannot be decoded.
    #[error("the API server's answer cannot be read: {0}")]
    Answer(String),
    /// The certificate is not signed by a trusted CA.
    #[error(
        "the API server cannot be reached: its certificate is not signed by a CA of the \
         kubeconfig or the ServiceAccount"
    )]
    UnknownIssuer,
    /// The certificate is not valid by any known time.
    #[error("the API server cannot be reached: {0}")]
    NotValidNow(NotValidNow),
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// A request with its own deadline exceeded it.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The connection failed; this is the innermost cause.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> ApiError {
        ApiError::from(&error)
    }
}

impl From<&kube::Error> for ApiError {
    fn from(error: &kube::Error) -> ApiError {
        if let kube::Error::Api(status) = error {
            return ApiError::from(&**status);
        }
        if matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
            return ApiError::Answer(innermost(error));
        }
        if let Some(not_valid) = find::<NotValidNow>(error) {
            ApiError::NotValidNow(*not_valid)
        } else if has_unknown_issuer(error) {
            ApiError::UnknownIssuer
        } else if is_timeout(error) {
            ApiError::Timeout
        } else {
            ApiError::Unreachable(without_number(error))
        }
    }
}

impl From<&Status> for ApiError {
    fn from(status: &Status) -> ApiError {
        match status.code {
            401 => ApiError::Unauthorized,
            403 => ApiError::Forbidden(status.message.clone()),
            // The details name the missing object. The response for a path that is not served has
            // no Status.
            404 if status.details.is_none() => ApiError::NotServed,
            code => ApiError::Status {
                code,
                message: status.message.clone(),
            },
        }
    }
}

/// Describes an error of the client by its innermost cause.
pub fn describe(error: &kube::Error) -> String {
    ApiError::from(error).to_string()
}

/// The pause that the API server asks for with an error; `None` without one.
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    Some(Duration::from_secs(seconds.into())).filter(|after| !after.is_zero())
}

/// Describes a path that the API server does not serve.
pub fn describe_absent(path: &str) -> String {
    format!("the API server has no {}", kind_at(path))
}

/// The kind that a path serves, with the first Kubernetes version that has it.
fn kind_at(path: &str) -> &str {
    match path {
        "/apis/networking.k8s.io/v1/servicecidrs" => {
            "networking.k8s.io/v1 ServiceCIDR: Kubernetes 1.33 or newer is needed, or the policy's \
             protected.serviceNetworks"
        }
        other => other,
    }
}

fn has_unknown_issuer(error: &(dyn Error + 'static)) -> bool {
    matches!(
        find(error),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
        ))
    )
}

/// Returns true for a timeout of the client: [`Elapsed`], or the error of hyper-timeout for a
/// silent connection.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io: Option<&io::Error> = cause.downcast_ref();
        cause.is::<Elapsed>() || io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
    })
}

/// Returns true if the connection ended in the middle of a response, as at a proxy's timeout.
pub fn is_interruption(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{TimedOut, UnexpectedEof};
    causes(error).any(|cause| {
        let io: Option<&io::Error> = cause.downcast_ref();
        io.is_some_and(|io| matches!(io.kind(), TimedOut | UnexpectedEof))
            // hyper's decoder of chunks says it in words only.
            || cause.to_string().contains("unexpected EOF during chunk")
    })
}

/// The first error of this type among an error and its causes.
pub fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes, the innermost last.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        // `source()` of an I/O error skips the error that it wraps.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        }
    })
}

/// The innermost cause. It names the failure; the outer errors only name the place.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

/// The innermost cause without the error number of the operating system.
fn without_number(error: &(dyn Error + 'static)) -> String {
    let cause = causes(error).last().unwrap_or(error);
    let text = cause.to_string();
    let number = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error)
        .map(|number| format!(" (os error {number})"));
    match number.and_then(|number| text.strip_suffix(&number).map(str::to_owned)) {
        Some(sentence) => sentence,
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use kube::{Client, Config};
    use tokio::net::TcpListener;

    use super::*;

    /// A client of the server at this port, with short timeouts.
    fn client(scheme: &str, port: u16) -> Client {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let mut config = Config::new(url.parse().unwrap());
        config.connect_timeout = Some(Duration::from_millis(200));
        config.read_timeout = Some(Duration::from_millis(200));
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    async fn failure(client: Client) -> ApiError {
        client.apiserver_version().await.unwrap_err().into()
    }

    /// A port that accepts connections and never answers.
    async fn silent() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn silence_is_a_timeout() {
        let (_listener, port) = silent().await;
        // Over HTTP the response is missing, over HTTPS the handshake.
        for scheme in ["http", "https"] {
            let error = failure(client(scheme, port)).await;
            assert_eq!(error, ApiError::Timeout, "{scheme}");
            assert_eq!(error.to_string(), "the API server did not answer in time");
        }
        let late = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>());
        let error = kube::Error::Service(late.await.unwrap_err().into());
        assert_eq!(ApiError::from(error), ApiError::Timeout);
    }

    #[tokio::test]
    async fn a_refused_connection_has_no_number() {
        let (listener, port) = silent().await;
        drop(listener);
        assert_eq!(
            failure(client("https", port)).await.to_string(),
            "the API server cannot be reached: Connection refused"
        );
    }

    #[tokio::test]
    async fn an_unknown_issuer_is_reported_in_words() {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let (listener, port) = silent().await;
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            acceptor.accept(stream).await.is_ok()
        });
        let error = failure(client("https", port)).await;
        assert_eq!(error, ApiError::UnknownIssuer);
        assert_eq!(
            error.to_string(),
            "the API server cannot be reached: its certificate is not signed by a CA of \
             the kubeconfig or the ServiceAccount"
        );
        assert!(!server.await.unwrap());
    }

    #[test]
    fn an_unserved_path_differs_from_a_missing_object() {
        let text = Status::failure("404 page not found", "Failed to parse error data");
        let error = ApiError::from(&text.with_code(404));
        assert_eq!(error, ApiError::NotServed);
        let details = serde_json::json!({"name": "a", "kind": "nodes"});
        let details = serde_json::from_value(details).unwrap();
        let absent = Status::failure("nodes \"a\" not found", "NotFound").with_code(404);
        assert_eq!(
            ApiError::from(&absent.with_details(details)).to_string(),
            "the API server answered 404: nodes \"a\" not found"
        );
    }

    #[test]
    fn a_missing_api_names_the_required_version() {
        let path = |url: String| describe_absent(&url);
        let url = <k8s_openapi::api::networking::v1::ServiceCIDR as kube::Resource>::url_path;
        assert_eq!(
            path(url(&(), None)),
            "the API server has no networking.k8s.io/v1 ServiceCIDR: Kubernetes 1.33 or newer is \
             needed, or the policy's protected.serviceNetworks"
        );
        assert_eq!(
            path("/apis/example.org/v1/things".into()),
            "the API server has no /apis/example.org/v1/things"
        );
    }
}
