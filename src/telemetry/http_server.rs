//! HTTP or HTTPS server of probes and metrics.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;

use super::connections;
use super::health::Health;
use super::https::ServerCertificate;
use super::metrics::Metrics;
use super::metrics_auth::MetricsAuth;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Linux's errno of a kernel without IPv6. The standard library has no name for it.
const EAFNOSUPPORT: i32 = 97;

/// A server that cannot serve.
#[derive(Debug, Error)]
pub enum ServerError {
    /// No address was given.
    #[error("no address to listen on (--bind-address)")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (--bind-address): {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The chosen port cannot be read.
    #[error("cannot read the port: {0}")]
    Port(io::Error),
}

#[derive(Clone)]
struct ServerState {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    metrics_auth: Option<Arc<MetricsAuth>>,
}

/// Options of the server.
pub struct ServerOptions<'a> {
    /// Addresses to listen on. The first one that the machine has is used.
    pub addresses: &'a [SocketAddr],
    /// Serving certificate; HTTP without one.
    pub certificate: Option<ServerCertificate>,
    /// Authorization of `/metrics`; without it anyone may read them. Probes need no token.
    pub metrics_auth: Option<MetricsAuth>,
}

/// A server that is bound to its port.
pub struct Server {
    listener: TcpListener,
    certificate: Option<ServerCertificate>,
    router: Router,
}

impl Server {
    /// Binds the port.
    pub async fn bind(
        options: ServerOptions<'_>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Server, ServerError> {
        let metrics_auth = options.metrics_auth.map(Arc::new);
        let router = Router::new()
            .route("/metrics", get(serve_metrics))
            .route("/healthz", get(livez))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(ServerState {
                health,
                metrics,
                metrics_auth,
            });
        Ok(Server {
            listener: listen(options.addresses)?,
            certificate: options.certificate,
            router,
        })
    }

    /// The bound address, with the chosen port if port 0 was given.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        self.listener.local_addr().map_err(ServerError::Port)
    }

    /// Serves until the future is dropped.
    pub async fn run(self) {
        let Some(certificate) = self.certificate else {
            return connections::serve(self.listener, None, self.router).await;
        };
        let acceptor = certificate.acceptor();
        tokio::join!(
            connections::serve(self.listener, Some(acceptor), self.router),
            certificate.follow(),
        );
    }
}

fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, ServerError> {
    let mut refused = ServerError::NoAddress;
    for &address in addresses {
        let cause = match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(cause) => cause,
        };
        let absent = matches!(
            cause.kind(),
            ErrorKind::Unsupported | ErrorKind::AddrNotAvailable
        ) || cause.raw_os_error() == Some(EAFNOSUPPORT);
        refused = ServerError::Listen { address, cause };
        if !absent {
            break;
        }
    }
    Err(refused)
}

/// Listens on one address. `[::]` accepts IPv4 too, regardless of the sysctl `net.ipv6.bindv6only`.
fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn serve_metrics(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some(metrics_auth) = &state.metrics_auth
        && let Err(denied) = metrics_auth.authorize(&headers, peer.ip()).await
    {
        return denied.into_response();
    }
    let kind = [(header::CONTENT_TYPE, OPENMETRICS)];
    (kind, state.metrics.encode()).into_response()
}

async fn livez(State(state): State<ServerState>) -> impl IntoResponse {
    if state.health.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "the controller hangs\n")
    }
}

async fn readyz(State(state): State<ServerState>) -> impl IntoResponse {
    let unready = state.health.unready_reasons();
    let clock = state.health.clock();
    let clock = clock.map_or_else(String::new, |remark| format!("clock: {remark}\n"));
    if unready.is_empty() {
        return (StatusCode::OK, format!("ok\n{clock}"));
    }
    let unready = unready.join("\n");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{unready}\n{clock}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv6Addr, TcpStream};

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_ipv6_wildcard_accepts_both_families() {
        let listener = listen(&[at("[::]:0"), at("0.0.0.0:0")]).unwrap();
        let bound = listener.local_addr().unwrap();
        TcpStream::connect(("127.0.0.1", bound.port())).unwrap();
        let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(bound.is_ipv6(), has_ipv6);
        if has_ipv6 {
            TcpStream::connect(("::1", bound.port())).unwrap();
        }
    }

    /// A documentation address (RFC 3849) fails like any address on a machine without IPv6.
    #[tokio::test]
    async fn an_unavailable_address_is_skipped() {
        let listener = listen(&[at("[2001:db8::1]:0"), at("127.0.0.1:0")]).unwrap();
        assert!(listener.local_addr().unwrap().is_ipv4());
        let alone = listen(&[at("[2001:db8::1]:0")]).unwrap_err().to_string();
        assert!(alone.contains("[2001:db8::1]:0"), "{alone}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error() {
        let taken = listen(&[at("127.0.0.1:0")]).unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(&[address, at("127.0.0.1:0")]).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
