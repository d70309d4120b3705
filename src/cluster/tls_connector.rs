//! TLS connections to the API server, with its certificate verified by the API server's own time.
//!
//! Before the first answer the machine's clock decides. It decides too when a certificate is not valid
//! by the learned time. Otherwise one absurd date could end every connection from which a right one
//! could be learned.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use jiff::Timestamp;
use kube::Config;
use kube::client::ConfigExt as _;
use rustls::CertificateError;
use rustls::pki_types::{ServerName, UnixTime};
use tower::{BoxError, Service, ServiceExt as _};

use super::clock::Clock;
use super::connection::ConnectError;
use super::error::find;
use super::proxy::ProxyConnector;

/// Opens connections of one client.
#[derive(Clone)]
pub(super) struct TlsConnector {
    /// Verifies by the API server's time.
    by_server: HttpsConnector<ProxyConnector>,
    /// Verifies by the machine's clock.
    by_machine: HttpsConnector<ProxyConnector>,
    clock: Clock,
    /// The first failure of a row of equal ones.
    refused: Arc<Mutex<Option<NotValidNow>>>,
}

impl TlsConnector {
    /// A connector with the CA, the client certificate and the server name of this configuration.
    pub(super) fn new(config: &Config, clock: &Clock) -> Result<TlsConnector, ConnectError> {
        let mut tls = config
            .rustls_client_config()
            .map_err(ConnectError::Credential)?;
        let by_machine = https(config, tls.clone())?;
        tls.time_provider = Arc::new(clock.clone());
        Ok(TlsConnector {
            by_server: https(config, tls)?,
            by_machine,
            clock: clock.clone(),
            refused: Arc::default(),
        })
    }

    /// Adds the times of both clocks to the failure of a certificate that is not valid now. They stay
    /// those of the first failure, so that a failure that lasts is reported once.
    fn with_times(&self, error: BoxError) -> BoxError {
        let Some(limit) = ValidityLimit::of(&*error) else {
            return error;
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let first = refused.filter(|first| first.limit == limit);
        let first = first.unwrap_or_else(|| NotValidNow {
            limit,
            machine: self.clock.time_of_day(),
            server: self.clock.server_time(),
        });
        *refused = Some(first);
        Box::new(first)
    }
}

fn https(
    config: &Config,
    tls: rustls::ClientConfig,
) -> Result<HttpsConnector<ProxyConnector>, ConnectError> {
    let http = ProxyConnector::new(config.proxy_url.as_ref())?;
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let parsed = ServerName::try_from(name.clone());
        let name = parsed.map_err(|_| ConnectError::ServerName(name.clone()))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(http))
}

impl Service<Uri> for TlsConnector {
    type Response = <HttpsConnector<ProxyConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.by_server.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.by_server.call(uri.clone());
        let connector = self.clone();
        Box::pin(async move {
            let mut connected = connecting.await;
            if let Err(error) = &connected
                && ValidityLimit::of(&**error).is_some()
                && connector.clock.server_time().is_some()
            {
                tracing::debug!(
                    "the API server's certificate is not valid by its own time: {error}"
                );
                connected = connector.by_machine.clone().oneshot(uri).await;
            }
            connected.map_err(|error| connector.with_times(error))
        })
    }
}

/// The limit of a certificate's validity that does not allow the time of its verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValidityLimit {
    NotBefore(Timestamp),
    NotAfter(Timestamp),
}

impl ValidityLimit {
    fn of(error: &(dyn Error + 'static)) -> Option<ValidityLimit> {
        let Some(rustls::Error::InvalidCertificate(refused)) = find(error) else {
            return None;
        };
        // Other errors of rustls do not concern the time.
        #[allow(clippy::wildcard_enum_match_arm)]
        match refused {
            CertificateError::NotValidYetContext { not_before, .. } => {
                timestamp(*not_before).map(ValidityLimit::NotBefore)
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                timestamp(*not_after).map(ValidityLimit::NotAfter)
            }
            _ => None,
        }
    }
}

fn timestamp(time: UnixTime) -> Option<Timestamp> {
    let second = i64::try_from(time.as_secs()).ok()?;
    Timestamp::from_second(second).ok()
}

/// A certificate of the API server that is not valid by any known time.
#[derive(Clone, Copy, Debug)]
pub struct NotValidNow {
    limit: ValidityLimit,
    /// This machine's time of day.
    machine: Timestamp,
    /// The API server's time, if it is known.
    server: Option<Timestamp>,
}

/// Two failures are equal if the certificate is the same. The time goes on.
impl PartialEq for NotValidNow {
    fn eq(&self, other: &NotValidNow) -> bool {
        self.limit == other.limit
    }
}

impl Eq for NotValidNow {}

impl fmt::Display for NotValidNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            ValidityLimit::NotBefore(time) => write!(f, "its certificate is valid from {time}")?,
            ValidityLimit::NotAfter(time) => write!(f, "its certificate has expired at {time}")?,
        }
        write!(f, ", found {:.0} by this machine's clock", self.machine)?;
        if let Some(server) = self.server {
            write!(f, " and {server:.0} by the API server's last answers")?;
        }
        f.write_str(": set the clock that is wrong, or renew the certificate")
    }
}

impl Error for NotValidNow {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};
    use tokio::net::TcpListener;

    use super::super::error::ApiError;
    use super::*;

    /// A certificate that is valid in this range of years.
    fn certificate(years: (i32, i32)) -> CertifiedKey<KeyPair> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        CertifiedKey { cert, signing_key }
    }

    /// Connects twice to a server with this certificate, by a clock that has learned this time. The
    /// machine shows 2026.
    async fn connect(years: (i32, i32), learned: Option<&str>) -> [Result<(), BoxError>; 2] {
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = certificate(years);
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The client decides whether the certificate is good.
                let _ = acceptor.accept(stream).await;
            }
        });
        let url: Uri = url.parse().unwrap();
        let mut config = Config::new(url.clone());
        config.root_cert = Some(vec![own.cert.der().to_vec()]);
        let clock = Clock::counted_from("2026-06-01T00:00:00Z".parse().unwrap());
        if let Some(learned) = learned {
            clock.learn(learned.parse().unwrap(), clock.uptime());
        }
        let connector = TlsConnector::new(&config, &clock).unwrap();
        let mut connected = Vec::new();
        for _ in 0..2 {
            connected.push(connector.clone().oneshot(url.clone()).await.map(drop));
        }
        serving.abort();
        connected.try_into().unwrap()
    }

    #[tokio::test]
    async fn a_certificate_is_verified_by_the_api_servers_time() {
        let [first, second] = connect((2090, 2092), Some("2091-01-01T00:00:00Z")).await;
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    }

    #[tokio::test]
    async fn an_absurd_time_does_not_end_connections() {
        let [first, second] = connect((2020, 3000), Some("4000-01-01T00:00:00Z")).await;
        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    }

    #[tokio::test]
    async fn a_refused_certificate_is_reported_with_both_times() {
        for (years, learned, expected) in [
            (
                (2090, 2092),
                None,
                "its certificate is valid from 2090-01-01T00:00:00Z, found 2026-06-01T00:00:",
            ),
            (
                (2020, 2021),
                Some("2031-01-01T00:00:00Z"),
                "its certificate has expired at 2021-01-01T00:00:00Z, found 2026-06-01T00:00:",
            ),
        ] {
            let failures = connect(years, learned).await.map(|connected| {
                let error = kube::Error::Service(connected.unwrap_err());
                ApiError::from(&error)
            });
            let [first, second] = failures;
            let text = first.to_string();
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("by this machine's clock"), "{text}");
            assert_eq!(text.contains("and 2031-01-01T00:00:"), learned.is_some());
            // A failure that lasts is the same one, and reads the same.
            assert_eq!(text, second.to_string());
            assert_eq!(first, second);
        }
    }

    #[test]
    fn failures_of_one_certificate_are_equal() {
        let machine = Timestamp::UNIX_EPOCH;
        let failure = |limit, machine| NotValidNow {
            limit,
            machine,
            server: None,
        };
        let limit = ValidityLimit::NotAfter(machine);
        let later = machine + SignedDuration::from_secs(9);
        assert_eq!(failure(limit, machine), failure(limit, later));
        assert_ne!(
            failure(limit, machine),
            failure(ValidityLimit::NotAfter(later), machine)
        );
    }
}
