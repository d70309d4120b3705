//! Clients of the API server. Watches, writes and Lease renewals have one each, because they need
//! different timeouts. All learn the API server's time from its answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::client::{AuthError, Body, ClientBuilder, ConfigExt as _};
use kube::config::AuthInfo;
use kube::{Client, Config};
use thiserror::Error;
use tokio::time::timeout;
use tower::util::{MapFutureLayer, MapRequestLayer, option_layer};
use tower::{BoxError, Layer as _, ServiceExt as _};

use super::clock::Clock;
use super::date_layer::DateLayer;
use super::error::{describe, innermost};
use super::kubeconfig::ReadError;
use super::proxy::ProxyError;
use super::raw_request;
use super::server_time::QUICK;
use super::target::{ContextError, DefaultKubeconfigError};
pub use super::target::{Impersonated, Target};
use super::tls_connector::TlsConnector;
use super::token_file::{TokenError, TokenFile};

/// Read timeout of a watch, longer than [`super::watch::TIMEOUT_SECONDS`].
const WATCH_SILENCE: Duration = Duration::from_secs(70);
/// Deadline of a write, including the reads that it needs.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(4);
/// Read timeout of the connection for writes. Each write has its own deadline; this value keeps the
/// connection open for the next one.
const WRITE_SILENCE: Duration = Duration::from_secs(100);
/// Deadline of reading and renewing the Lease: two round trips and a new connection. A server that
/// answers each within a second is slow but healthy.
pub const LEASE_DEADLINE: Duration = Duration::from_secs(4);
/// Read timeout of the Lease's connection. It is longer than the renewal interval, so that a
/// renewal needs no new connection.
const LEASE_SILENCE: Duration = Duration::from_secs(10);
/// Deadline of opening a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// A configuration without a usable client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server's URL has no scheme.
    #[error(
        "expected a server such as https://10.0.0.1:6443, found `{0}` in the kubeconfig or as --server"
    )]
    Scheme(http::Uri),
    /// `--server` is not a URL.
    #[error("expected a server such as https://10.0.0.1:6443, found `{0}` as --server")]
    Server(String),
    /// Groups or other attributes are given without a user to impersonate.
    #[error("--as-group, --as-uid and --as-user-extra need the user of --as")]
    NotImpersonated,
    /// `tls-server-name` is neither a DNS name nor an IP address.
    #[error("expected a DNS name or an IP address as tls-server-name, found `{0}`")]
    ServerName(String),
    /// The proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The credential is a token file that cannot be read.
    #[error("the credential cannot be used: {0}")]
    Token(#[from] TokenError),
    /// The command of the kubeconfig that gives the credential cannot be started.
    #[error("cannot run `{command}`, which the kubeconfig names for the credential: {cause}{hint}")]
    Exec {
        /// The command.
        command: String,
        /// The cause.
        cause: String,
        /// The `installHint` of the kubeconfig after a colon, in one line.
        hint: String,
    },
    /// The client rejects the credential.
    #[error("the credential cannot be used: {}", innermost(.0))]
    Credential(kube::Error),
    /// A named kubeconfig cannot be read.
    #[error("cannot read kubeconfig {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: ReadError,
    },
    /// The kubeconfig has no usable context.
    #[error("cannot use kubeconfig {files}: {cause}")]
    Context {
        /// The files, separated as in KUBECONFIG.
        files: String,
        /// The cause.
        cause: ContextError,
    },
    /// No kubeconfig is named, and the defaults cannot be used.
    #[error(
        "not inside a cluster, and found no usable kubeconfig (--kubeconfig, KUBECONFIG or \
         ~/.kube/config): {0}"
    )]
    Default(DefaultKubeconfigError),
}

impl From<DefaultKubeconfigError> for ConnectError {
    fn from(error: DefaultKubeconfigError) -> ConnectError {
        ConnectError::Default(error)
    }
}

/// A connection to one API server.
#[derive(Clone)]
pub struct Connection {
    /// The server and the credential.
    pub config: Config,
    /// Client of watches.
    pub watches: Client,
    /// Client of writes and single reads.
    pub writes: Client,
    /// Client of the Lease.
    pub lease: Client,
    /// The clock, with the API server's time as learned from all answers.
    pub clock: Clock,
}

impl Connection {
    /// Reads the configuration; sends nothing. Without a target, the order is in-cluster, then
    /// `~/.kube/config`.
    pub async fn new(target: &Target) -> Result<Connection, ConnectError> {
        Connection::within(target.config().await?, target.request_timeout)
    }

    /// Builds the clients of a configuration; sends nothing.
    pub fn with(config: Config) -> Result<Connection, ConnectError> {
        Connection::within(config, None)
    }

    /// Builds clients each of whose requests fails after this time. Without one, only connections have
    /// deadlines.
    fn within(config: Config, limit: Option<Duration>) -> Result<Connection, ConnectError> {
        // kube assumes that the URL has a scheme.
        if config.cluster_url.scheme().is_none() {
            return Err(ConnectError::Scheme(config.cluster_url));
        }
        let file = token_file(&config.auth_info)?;
        let clock = Clock::of_machine();
        let client = |read: Duration| {
            let mut config = config.clone();
            if file.is_some() {
                config.auth_info.token_file = None;
                // Without a token file, kube would run this command.
                config.auth_info.exec = None;
            }
            config.connect_timeout = limit.or(Some(CONNECT_DEADLINE));
            config.read_timeout = Some(limit.map_or(read, |limit| read.min(limit)));
            config.write_timeout = Some(WRITE_DEADLINE);
            build(&config, file.clone(), limit, &clock)
        };
        Ok(Connection {
            watches: client(WATCH_SILENCE)?,
            writes: client(WRITE_SILENCE)?,
            lease: client(LEASE_SILENCE)?,
            config,
            clock,
        })
    }

    /// A connection without sockets. `service` gives the service of a client with this read timeout.
    #[cfg(test)]
    pub(crate) fn in_memory<S, B>(
        config: Config,
        clock: Clock,
        service: impl Fn(Duration) -> S,
    ) -> Connection
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<B>, Error = BoxError>
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let client = |read: Duration| {
            let builder = ClientBuilder::new(service(read), config.default_namespace.clone());
            builder.with_layer(&DateLayer(clock.clone())).build()
        };
        Connection {
            watches: client(WATCH_SILENCE),
            writes: client(WRITE_SILENCE),
            lease: client(LEASE_SILENCE),
            config,
            clock,
        }
    }

    /// Asks the API server for its time, by a request that needs no permission. Without a quick
    /// answer the time stays as it is known.
    pub async fn ask_time(&self) {
        let asked = async {
            let request = http::Request::get("/version").body(Vec::new());
            let request = request.map_err(kube::Error::HttpError)?;
            raw_request::without_response(&self.writes, request).await
        };
        match timeout(QUICK, asked).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!("cannot read the API server's time: {}", describe(&error))
            }
            Err(_) => tracing::debug!("the API server's time was not read in time"),
        }
    }

    /// The API server's URL, for messages.
    pub fn server(&self) -> String {
        let url = self.config.cluster_url.to_string();
        url.trim_end_matches('/').to_owned()
    }
}

/// Opens the token file if it is the credential.
fn token_file(auth: &AuthInfo) -> Result<Option<Arc<TokenFile>>, TokenError> {
    // kube prefers these credentials over a token file, and so does this.
    let other = auth.token.is_some() || auth.username.is_some() || auth.auth_provider.is_some();
    match &auth.token_file {
        Some(path) if !other => Ok(Some(Arc::new(TokenFile::open(Path::new(path))?))),
        Some(_) | None => Ok(None),
    }
}

/// Builds a client as kube does, with our own connector.
fn build(
    config: &Config,
    token: Option<Arc<TokenFile>>,
    limit: Option<Duration>,
    clock: &Clock,
) -> Result<Client, ConnectError> {
    let mut connector = TimeoutConnector::new(TlsConnector::new(config, clock)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(true);
    let client: legacy::Client<_, Body> =
        legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = client.map_err(BoxError::from);
    let headers = config.extra_headers_layer();
    let service = headers.map_err(ConnectError::Credential)?.layer(service);
    let auth = config.auth_layer();
    let auth = auth.map_err(|error| credential_error(error, &config.auth_info))?;
    let service = option_layer(auth).layer(service);
    let authorize =
        token.map(|token| MapRequestLayer::new(move |request| token.authorize(request)));
    let service = option_layer(authorize).layer(service);
    let service = config.base_uri_layer().layer(service);
    // Until the head of the response. The read timeout covers its body.
    let limited = limit.map(|limit| {
        MapFutureLayer::new(move |response| async move {
            timeout(limit, response).await.map_err(BoxError::from)?
        })
    });
    let service = option_layer(limited).layer(service);
    let builder = ClientBuilder::new(service, config.default_namespace.clone());
    Ok(builder.with_layer(&DateLayer(clock.clone())).build())
}

/// Names the command that could not be started, with the kubeconfig's hint on its installation.
fn credential_error(error: kube::Error, auth: &AuthInfo) -> ConnectError {
    let (kube::Error::Auth(AuthError::AuthExecStart(cause)), Some(exec)) = (&error, &auth.exec)
    else {
        return ConnectError::Credential(error);
    };
    let hint = exec.install_hint.as_deref().unwrap_or_default();
    let words: Vec<&str> = hint.split_whitespace().collect();
    ConnectError::Exec {
        command: exec.command.clone().unwrap_or_default(),
        cause: cause.to_string(),
        hint: words
            .first()
            .map_or_else(String::new, |_| format!(": {}", words.join(" "))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::config::KubeConfigOptions;

    use super::*;

    #[test]
    fn a_server_without_scheme_is_reported() {
        let config = Config::new("127.0.0.1:6443".parse().unwrap());
        let error = Connection::with(config).err().unwrap().to_string();
        assert!(error.contains("found `127.0.0.1:6443`"), "{error}");
    }

    #[tokio::test]
    async fn a_token_file_replaces_the_exec_credential() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "t").unwrap();
        let mut config = Config::new("https://127.0.0.1".parse().unwrap());
        config.auth_info.exec = Some(
            serde_json::from_value(serde_json::json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": dir.path().join("absent"),
            }))
            .unwrap(),
        );
        assert!(Connection::with(config.clone()).is_err());
        config.auth_info.token_file = Some(token.display().to_string());
        assert!(Connection::with(config).is_ok());
    }

    #[tokio::test]
    async fn a_missing_exec_plugin_is_named_with_its_hint() {
        let mut config = Config::new("https://127.0.0.1".parse().unwrap());
        config.auth_info.exec = Some(
            serde_json::from_value(serde_json::json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "/absent/auth-plugin",
                "installHint": "install auth-plugin:\n  see example.org\n",
            }))
            .unwrap(),
        );
        let error = Connection::with(config).err().unwrap().to_string();
        let expected = "cannot run `/absent/auth-plugin`, which the kubeconfig names for the \
                        credential: No such file";
        assert!(error.starts_with(expected), "{error}");
        assert!(
            error.ends_with(": install auth-plugin: see example.org"),
            "{error}"
        );
    }

    /// kube evaluates one JSONPath: the place of the token in a command's output.
    #[tokio::test]
    async fn a_token_is_found_in_the_output_of_a_command() {
        let connect = async |path: &str| {
            let kubeconfig = serde_json::from_value(serde_json::json!({
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1"}}],
                "users": [{"name": "a", "user": {"auth-provider": {"name": "gcp", "config": {
                    "cmd-path": "echo",
                    "cmd-args": r#"{"credential":{"token":"t","lasts":3600}}"#,
                    "token-key": path,
                }}}}],
            }));
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig.unwrap(), &options).await;
            Connection::with(config.unwrap()).map(|_| ())
        };
        for path in ["{.credential.token}", "credential.token", "$..token"] {
            assert!(connect(path).await.is_ok(), "{path}");
        }
        for (path, expected) in [
            ("{.credential.other}", "not found"),
            ("{.credential.lasts}", "not a string"),
            ("{.credential[}", "Failed to query"),
        ] {
            let error = connect(path).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
