//! TLS handshake with a kubelet. Any certificate is accepted, and evaluated afterwards.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use x509_parser::oid_registry::OidRegistry;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cluster::certificate_fields::sans;
use crate::doctor::facts::{Certificate, DialResult, SignedBy};
use crate::sources::certificate_probe::{CertificateProbe, Chain, ProbeError, Trust};

/// Reads the certificates that kubelets present.
#[derive(Clone)]
pub(super) struct Dialer {
    ports: CertificateProbe,
}

impl Dialer {
    /// A dialer that attributes certificates to these CAs, in DER. If one of them cannot be read,
    /// no certificate is the cluster's.
    pub(super) fn new(authorities: &[Vec<u8>], deadline: Duration) -> Dialer {
        let ports = CertificateProbe::new(authorities.iter().map(Vec::as_slice), deadline);
        Dialer {
            ports: ports.unwrap_or_else(|_| CertificateProbe::without_ca(deadline)),
        }
    }

    pub(super) async fn dial(&self, address: IpAddr, port: u16) -> DialResult {
        match self.ports.probe(SocketAddr::new(address, port)).await {
            Ok(chain) => match self.read(address, &chain) {
                Ok(certificate) => DialResult::Certificate(Box::new(certificate)),
                Err(why) => DialResult::Failed(why),
            },
            Err(ProbeError::NoCertificate) => DialResult::NoCertificate,
            Err(why) => DialResult::Failed(why.to_string()),
        }
    }

    fn read(&self, address: IpAddr, chain: &Chain) -> Result<Certificate, String> {
        let (_, parsed) = X509Certificate::from_der(&chain.end_entity)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let time = |seconds: i64| {
            Timestamp::from_second(seconds)
                .map_err(|_| "the certificate has an invalid time".to_owned())
        };
        let validity = parsed.validity();
        let not_after = time(validity.not_after.timestamp())?;
        let signed_by = if self.signed_by_cluster(chain, not_after) {
            SignedBy::Cluster
        } else if signs_itself(&parsed) {
            SignedBy::Itself
        } else {
            // An empty registry is enough: issuer names consist of a few common attributes, and the
            // full table is large.
            let name = parsed
                .issuer()
                .to_string_with_registry(&OidRegistry::default());
            SignedBy::Other(name.unwrap_or_else(|_| "a name that is not text".to_owned()))
        };
        let names = sans(&chain.end_entity).map_err(|error| error.to_string())?;
        let mut common_names = parsed.subject().iter_common_name();
        let common_name = common_names.next().and_then(|name| name.as_str().ok());
        Ok(Certificate {
            address,
            common_name: common_name.unwrap_or_default().to_owned(),
            signed_by,
            not_before: time(validity.not_before.timestamp())?,
            not_after,
            sans: names.into_iter().collect(),
        })
    }

    /// Returns true if the chain leads to the cluster's CA, at a time when the certificate was
    /// valid.
    fn signed_by_cluster(&self, chain: &Chain, not_after: Timestamp) -> bool {
        let last = not_after.checked_sub(SignedDuration::from_secs(1));
        self.ports.signed_by(chain, last.unwrap_or(not_after)) == Trust::ClusterCa
    }
}

/// Returns true for a self-signed kubelet certificate. Without serverTLSBootstrap, a kubelet
/// creates the CA `NAME-ca@SECONDS` and signs `NAME@SECONDS` with it (client-go
/// `util/cert/cert.go`).
fn signs_itself(certificate: &X509Certificate<'_>) -> bool {
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    if subject.as_raw() == issuer.as_raw() {
        return true;
    }
    let mut names = issuer.iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    name.and_then(|name| name.rsplit_once("-ca@"))
        .is_some_and(|(_, time)| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit()))
}
