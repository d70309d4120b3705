//! Flags of the HTTP server for metrics and probes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster::connection::Connection;
use crate::telemetry::health::Health;
use crate::telemetry::http_server::{Server, ServerOptions};
use crate::telemetry::https::ServerCertificate;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics_auth::MetricsAuth;

/// Default listen addresses, in order of preference: IPv4 is for machines without IPv6.
const EVERYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
];

/// Flags of the server, as other components of Kubernetes have them.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServingArgs {
    /// Listen address of /metrics, /livez and /readyz [default: [::]:8080, which includes every
    /// IPv4 address]
    #[arg(long, env = "CSR_WARDEN_BIND_ADDRESS", value_name = "IP:PORT")]
    bind_address: Option<SocketAddr>,
    /// Certificate chain in PEM, to serve them over HTTPS; reloaded when it changes
    #[arg(
        long,
        env = "CSR_WARDEN_TLS_CERT_FILE",
        value_name = "FILE",
        requires = "tls_private_key_file"
    )]
    tls_cert_file: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(
        long,
        env = "CSR_WARDEN_TLS_PRIVATE_KEY_FILE",
        value_name = "FILE",
        requires = "tls_cert_file"
    )]
    tls_private_key_file: Option<PathBuf>,
    /// Serve /metrics only to clients whose token may get that nonResourceURL; needs
    /// HTTPS
    #[arg(long, env = "CSR_WARDEN_METRICS_AUTH", requires = "tls_cert_file")]
    metrics_auth: bool,
}

impl ServingArgs {
    /// Flags for plain HTTP at this address, without authentication.
    #[cfg(feature = "lab")]
    pub(super) fn at(address: SocketAddr) -> ServingArgs {
        ServingArgs {
            bind_address: Some(address),
            tls_cert_file: None,
            tls_private_key_file: None,
            metrics_auth: false,
        }
    }

    /// Binds the port.
    pub(super) async fn bind(
        &self,
        connection: &Connection,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Server> {
        let everywhere = EVERYWHERE.to_vec();
        let addresses = self.bind_address.map_or(everywhere, |one| vec![one]);
        let certificate = match (&self.tls_cert_file, &self.tls_private_key_file) {
            (Some(chain), Some(key)) => Some(
                ServerCertificate::read(chain.clone(), key.clone())
                    .context("cannot serve HTTPS (--tls-cert-file, --tls-private-key-file)")?,
            ),
            (Some(_), None) | (None, _) => None,
        };
        let options = ServerOptions {
            addresses: &addresses,
            certificate,
            metrics_auth: self
                .metrics_auth
                .then(|| MetricsAuth::new(connection.writes.clone())),
        };
        Ok(Server::bind(options, health, metrics).await?)
    }
}
