//! Certificates that hosts show in a simulation, instead of TLS handshakes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::sleep;

/// A certificate, or `None` if the host shows none, and the time that the handshake takes.
pub(crate) type Shown = (Option<CertificateDer<'static>>, Duration);
/// The certificate of each host.
pub(crate) type Handshakes = Arc<dyn Fn(&str) -> Shown>;

thread_local! {
    /// Those of the simulation on this thread.
    static HANDSHAKES: RefCell<Option<Handshakes>> = const { RefCell::new(None) };
}

/// Sets the certificates for this thread.
pub(crate) fn set(handshakes: Option<Handshakes>) {
    HANDSHAKES.set(handshakes);
}

/// The certificate that this host shows; `None` outside of a simulation.
pub(crate) async fn of_host(host: &str) -> Option<Option<CertificateDer<'static>>> {
    let shown = HANDSHAKES.with_borrow(|handshakes| Some(handshakes.as_ref()?(host)));
    let (certificate, takes) = shown?;
    sleep(takes).await;
    Some(certificate)
}
