//! The way to the API server: direct, or through a proxy, as kubectl finds it.
//!
//! The `proxy-url` of a kubeconfig is always used. Without one, `HTTPS_PROXY` and `NO_PROXY` decide by the rules
//! of Go's `golang.org/x/net/http/httpproxy`. In a Pod, the API server is reached directly.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceExt as _, service_fn};

use super::error::innermost;
use super::no_proxy::is_excluded;

/// Ports where a URL has none: of an HTTP proxy, a SOCKS proxy and an API server.
pub(super) const HTTP_PORT: u16 = 80;
const SOCKS_PORT: u16 = 1080;
pub(super) const HTTPS_PORT: u16 = 443;

/// A proxy that cannot be used. The value is left out, since it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{place}: expected a proxy such as http://10.0.0.1:3128 or socks5://10.0.0.1:1080, found {found}"
)]
pub struct ProxyError {
    /// The variable or the field that names it.
    place: &'static str,
    found: String,
}

impl ProxyError {
    fn scheme(place: &'static str, proxy: &Uri) -> ProxyError {
        let scheme = proxy.scheme_str().unwrap_or_default();
        ProxyError {
            place,
            found: format!("the scheme `{scheme}`"),
        }
    }
}

/// A connection that a proxy did not open.
#[derive(Debug, Error)]
#[error("through the proxy {proxy}: {cause}")]
pub(super) struct ProxyFailure {
    proxy: String,
    cause: String,
}

/// Returns the proxy that the environment names for this server. A value that names none is an error, unless
/// `NO_PROXY` excludes the server. Go goes past such a proxy, and so around it.
pub(super) fn of_environment(server: &Uri) -> Result<Option<Uri>, ProxyError> {
    let names = if server.scheme() == Some(&Scheme::HTTP) {
        ["HTTP_PROXY", "http_proxy"]
    } else {
        ["HTTPS_PROXY", "https_proxy"]
    };
    let Some((place, proxy)) = first_set(names) else {
        return Ok(None);
    };
    let excluded = first_set(["NO_PROXY", "no_proxy"]);
    if is_excluded(&excluded.unwrap_or_default().1, server) {
        return Ok(None);
    }
    of_variable(place, &proxy).map(Some)
}

fn of_variable(place: &'static str, proxy: &str) -> Result<Uri, ProxyError> {
    let found = || ProxyError {
        place,
        found: "no URL".to_owned(),
    };
    let proxy: Uri = proxy.parse().map_err(|_| found())?;
    let parsed = parse(&proxy);
    if proxy.host().is_none_or(str::is_empty) || parsed.is_none() && proxy.scheme().is_none() {
        return Err(found());
    }
    if parsed.is_none_or(|parsed| !is_supported(parsed.uri())) {
        return Err(ProxyError::scheme(place, &proxy));
    }
    Ok(proxy)
}

/// The first of these variables that is set, and its value. Go prefers upper case too.
fn first_set(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let values = names
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    values.into_iter().find(|(_, value)| !value.is_empty())
}

/// Opens connections to the API server, directly or through a proxy.
#[derive(Clone, Debug)]
pub(super) struct ProxyConnector {
    http: HttpConnector,
    /// The proxy and its credential, with a port in its URL.
    proxy: Option<Intercept>,
}

impl ProxyConnector {
    /// A connector through this proxy, or a direct one.
    pub(super) fn new(proxy: Option<&Uri>) -> Result<ProxyConnector, ProxyError> {
        let mut http = HttpConnector::new();
        // The scheme decides.
        http.enforce_http(false);
        let checked = |proxy: &Uri| {
            let parsed = parse(proxy).filter(|parsed| is_supported(parsed.uri()));
            parsed.ok_or_else(|| ProxyError::scheme("proxy-url of the kubeconfig", proxy))
        };
        Ok(ProxyConnector {
            http,
            proxy: proxy.map(checked).transpose()?,
        })
    }

    /// Opens a connection to this server.
    pub(super) async fn connect(&self, server: Uri) -> Result<TcpStream, BoxError> {
        let stream = self.clone().oneshot(server).await?;
        Ok(stream.into_inner())
    }
}

fn is_supported(proxy: &Uri) -> bool {
    matches!(proxy.scheme_str(), Some("http" | "socks5" | "socks5h"))
}

/// Lets the proxy open a connection to this server.
async fn tunnel(
    http: HttpConnector,
    proxy: &Intercept,
    server: Uri,
) -> Result<TokioIo<TcpStream>, BoxError> {
    let server = with_port(server, HTTPS_PORT).ok_or("the server's URL has no host")?;
    let is_socks = proxy.uri().scheme() != Some(&Scheme::HTTP);
    let default = if is_socks { SOCKS_PORT } else { HTTP_PORT };
    let address = with_port(proxy.uri().clone(), default).ok_or("its URL has no host")?;
    let stream = http.oneshot(address.clone()).await?;
    let mut stream = Some(stream);
    let opened = service_fn(move |_: Uri| {
        let stream = stream.take();
        ready(stream.ok_or_else(|| io::Error::other("it was used before")))
    });
    if is_socks {
        let socks = SocksV5::new(address, opened);
        let socks = match proxy.raw_auth() {
            Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
            None => socks,
        };
        return Ok(socks.oneshot(server).await?);
    }
    let tunnel = Tunnel::new(address, opened);
    let tunnel = match proxy.basic_auth() {
        Some(header) => tunnel.with_auth(header.clone()),
        None => tunnel,
    };
    Ok(tunnel.oneshot(server).await?)
}

/// Parses the URL of a proxy. A URL without a scheme is that of an HTTP proxy.
fn parse(proxy: &Uri) -> Option<Intercept> {
    let any = Uri::from_static("https://kubernetes.default.svc");
    let matcher = Matcher::builder().https(proxy.to_string()).build();
    matcher.intercept(&any)
}

fn with_port(uri: Uri, port: u16) -> Option<Uri> {
    if uri.port().is_some() {
        return Some(uri);
    }
    let authority = format!("{}:{port}", uri.host()?);
    let mut parts = uri.into_parts();
    parts.authority = Some(authority.parse().ok()?);
    Uri::from_parts(parts).ok()
}

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let ProxyConnector { http, proxy } = self.clone();
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return http.oneshot(server).await.map_err(BoxError::from);
            };
            tunnel(http, &proxy, server).await.map_err(|error| {
                let proxy = proxy.uri().to_string();
                BoxError::from(ProxyFailure {
                    proxy: proxy.trim_end_matches('/').to_owned(),
                    cause: innermost(&*error),
                })
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    #[test]
    fn other_proxies_are_rejected_without_their_password() {
        for proxy in [
            "https://user:secret@10.0.0.1",
            "socks4://10.0.0.1",
            "ftp://10.0.0.1",
        ] {
            let error = ProxyConnector::new(Some(&proxy.parse().unwrap())).unwrap_err();
            let error = error.to_string();
            let scheme = proxy.split(':').next().unwrap();
            assert!(error.contains(&format!("scheme `{scheme}`")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for (proxy, shown) in [
            ("http://user:secret@10.0.0.1:3128", "http://10.0.0.1:3128"),
            ("10.0.0.1:3128", "http://10.0.0.1:3128"),
            (
                "socks5h://user:secret@proxy.example",
                "socks5h://proxy.example",
            ),
        ] {
            let connector = ProxyConnector::new(Some(&proxy.parse().unwrap())).unwrap();
            let uri = connector.proxy.unwrap().uri().to_string();
            assert_eq!(uri.trim_end_matches('/'), shown);
        }
    }

    /// Rows of `TestProxyForURL`. Go reports a scheme that it does not know with the first request.
    #[test]
    fn a_variable_names_a_proxy_with_or_without_a_scheme() {
        for (value, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            (
                "cache.corp.example.com:1234",
                "http://cache.corp.example.com:1234/",
            ),
            ("cache.corp.example.com", "http://cache.corp.example.com/"),
            ("localhost", "http://localhost/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("socks5://127.0.0.1", "socks5://127.0.0.1/"),
            ("user:secret@127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ] {
            let proxy = of_variable("HTTPS_PROXY", value).unwrap();
            let connector = ProxyConnector::new(Some(&proxy)).unwrap();
            assert_eq!(
                connector.proxy.unwrap().uri().to_string(),
                expected,
                "{value}"
            );
        }
        for (value, expected) in [
            (
                "https://user:secret@cache.corp.example.com",
                "found the scheme `https`",
            ),
            ("foo://user:secret@host", "found the scheme `foo`"),
            ("http://user:secret @host", "found no URL"),
            ("http://", "found no URL"),
            ("/user:secret", "found no URL"),
            ("user:secret@", "found no URL"),
        ] {
            let error = of_variable("https_proxy", value).unwrap_err().to_string();
            assert!(
                error.starts_with("https_proxy: expected a proxy"),
                "{error}"
            );
            assert!(
                error.ends_with(expected) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    /// A proxy that expects these bytes in turn, each followed by an answer, and then echoes.
    async fn proxy(turns: Vec<(Vec<u8>, Vec<u8>)>) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (expected, answer) in turns {
                let mut found = vec![0; expected.len()];
                stream.read_exact(&mut found).await.unwrap();
                let text = String::from_utf8_lossy(&found).into_owned();
                assert_eq!(found, expected, "{text}");
                stream.write_all(&answer).await.unwrap();
            }
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        (address, serving)
    }

    async fn connect(proxy: &str, server: &str) -> Result<TcpStream, BoxError> {
        let connector = ProxyConnector::new(Some(&proxy.parse()?))?;
        connector.connect(server.parse()?).await
    }

    async fn echoes(mut stream: TcpStream) {
        stream.write_all(b"hello").await.unwrap();
        let mut found = [0; 5];
        stream.read_exact(&mut found).await.unwrap();
        assert_eq!(&found, b"hello");
    }

    #[tokio::test]
    async fn an_http_proxy_opens_a_tunnel() {
        let head = "CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n";
        let head = format!("{head}Proxy-Authorization: Basic dXNlcjpzZSBjcmV0\r\n\r\n");
        let opened = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
        let (address, serving) = proxy(vec![(head.into_bytes(), opened)]).await;
        let url = format!("http://user:se%20cret@{address}");
        echoes(connect(&url, "https://api.example:6443").await.unwrap()).await;
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_socks_proxy_resolves_the_name_itself() {
        let method = (vec![5, 1, 0], vec![5, 0]);
        let mut request = vec![5, 1, 0, 3, 11];
        request.extend(b"api.example");
        request.extend(6443_u16.to_be_bytes());
        let (address, serving) = proxy(vec![
            method,
            (request, vec![5, 0, 0, 1, 10, 0, 0, 1, 25, 43]),
        ])
        .await;
        let url = format!("socks5://{address}");
        echoes(connect(&url, "https://api.example:6443").await.unwrap()).await;
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn failures_name_the_proxy() {
        let head = "CONNECT 192.0.2.10:443 HTTP/1.1\r\nHost: 192.0.2.10:443\r\n\r\n";
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec();
        let (address, _serving) = proxy(vec![(head.into(), refused)]).await;
        let error = connect(&format!("http://{address}"), "https://192.0.2.10").await;
        let error = error.unwrap_err().to_string();
        let expected = format!("through the proxy http://{address}: ");
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("authorization required"), "{error}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let error = connect(&format!("socks5://{closed}"), "https://192.0.2.10").await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("through the proxy socks5://{closed}: ")),
            "{error}"
        );
        assert!(error.contains("refused"), "{error}");
    }
}
