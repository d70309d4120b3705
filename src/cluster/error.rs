//! What went wrong between us and the API server, in a sentence for a person.

use std::error::Error;

use kube::runtime::watcher;

/// What an API server says of a path that it does not know at all.
const NO_SUCH_PATH: &str = "404 page not found";

/// One sentence for an error of the client, with the innermost cause.
pub fn describe(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return match status.code {
            401 => "the API server does not accept the credential (401 Unauthorized)".into(),
            403 => format!("a permission is missing: {}", status.message),
            404 if status.message.trim() == NO_SUCH_PATH => {
                "the API server does not serve it (404)".into()
            }
            code => format!("the API server answered {code}: {}", status.message),
        };
    }
    let cause = innermost(error);
    if cause.ends_with("UnknownIssuer") {
        return "the API server cannot be reached: its certificate is signed by no CA that the \
                kubeconfig or the ServiceAccount names"
            .into();
    }
    // The clients' own deadlines (tokio `time/error.rs`).
    if cause == "deadline has elapsed" {
        return "the API server did not answer in time".into();
    }
    // The number is for programs.
    let (cause, _) = cause.split_once(" (os error ").unwrap_or((&cause, ""));
    format!("the API server cannot be reached: {cause}")
}

/// One sentence for an error of a watch on the objects at this path.
pub fn describe_watch(error: &watcher::Error, path: &str) -> String {
    if watch_status(error) == 404 {
        return describe_absent(path);
    }
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => describe(error),
        watcher::Error::WatchError(status) => {
            format!(
                "the API server ended the watch with {}: {}",
                status.code, status.message
            )
        }
        watcher::Error::NoResourceVersion => "the API server sent no resourceVersion".into(),
    }
}

/// One sentence for a path that the API server does not serve.
pub fn describe_absent(path: &str) -> String {
    format!("the API server has no {}", kind_at(path))
}

/// What is served at a path that a server may not have, and since when servers have it.
fn kind_at(path: &str) -> &str {
    match path {
        "/apis/networking.k8s.io/v1/servicecidrs" => {
            "networking.k8s.io/v1 ServiceCIDR: Kubernetes 1.33 or newer is needed"
        }
        other => other,
    }
}

/// The HTTP status of an error of a watch; 0 if there was none.
pub fn watch_status(error: &watcher::Error) -> u16 {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => 0,
    }
}

/// The last cause in the chain says what happened; the ones before say only where.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::core::Status;

    use super::*;

    /// As the TLS library hands it up.
    #[test]
    fn an_unknown_issuer_is_told_in_words() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = kube::Error::Service(std::io::Error::other(tls).into());
        assert_eq!(
            describe(&error),
            "the API server cannot be reached: its certificate is signed by no CA that the \
             kubeconfig or the ServiceAccount names"
        );
    }

    #[tokio::test]
    async fn silence_is_told_in_words() {
        let late = tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>());
        let error = kube::Error::Service(late.await.unwrap_err().into());
        assert_eq!(describe(&error), "the API server did not answer in time");
    }

    #[test]
    fn a_server_that_is_too_old_is_told_so() {
        let absent = || {
            let status = Status::failure("404 page not found", "NotFound").with_code(404);
            watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()))
        };
        let path = |url: String| describe_watch(&absent(), &url);
        let url = <k8s_openapi::api::networking::v1::ServiceCIDR as kube::Resource>::url_path;
        assert_eq!(
            path(url(&(), None)),
            "the API server has no networking.k8s.io/v1 ServiceCIDR: Kubernetes 1.33 or newer is \
             needed"
        );
        assert_eq!(
            path("/apis/example.org/v1/things".into()),
            "the API server has no /apis/example.org/v1/things"
        );
    }
}
