//! What the API servers are called, read off the certificates that they show now.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::feeds::{InForce, Input, Inputs};
use crate::cluster::certificates::{ApiServer, CertificateReader};
use crate::cluster::connection::Connection;
use crate::cluster::protected::Part;
use crate::cluster::watch::{Backoff, jitter};
use crate::csr::names::San;
use crate::evidence::{IdentityKind, Source};
use crate::policy::Demand;

/// How often certificates are read again, without a reason.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// Reads the certificate of every API server, again when the endpoints change, and from time to
/// time.
pub(super) async fn read_certificates(
    connection: Connection,
    policy: watch::Receiver<InForce>,
    mut endpoints: watch::Receiver<Option<BTreeSet<ApiServer>>>,
    inputs: Inputs,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut known: BTreeSet<ApiServer> = BTreeSet::new();
    let mut read: BTreeSet<ApiServer> = BTreeSet::new();
    let configured = ApiServer::configured(&connection.config);
    loop {
        // Which servers there are is only known once the endpoints have been listed.
        let listed = match endpoints.wait_for(Option::is_some).await {
            Ok(listed) => listed.clone(),
            Err(_) => return,
        };
        endpoints.mark_unchanged();
        let servers: BTreeSet<ApiServer> = listed
            .into_iter()
            .flatten()
            .chain(configured.clone())
            .collect();
        for gone in known.difference(&servers) {
            let _ = inputs.send(Input::Unprotected(origin(gone))).await;
        }
        read.retain(|server| servers.contains(server));
        let failures = read_all(&connection, &servers, &mut read, &inputs).await;
        known = servers;
        let demand = policy.borrow().policy.spec.protected.endpoint_certificates;
        let decisive =
            |server: &ApiServer| demand == Demand::Required || Some(server) == configured.as_ref();
        let failures = failures
            .into_iter()
            .filter(|(server, _)| server.as_ref().is_none_or(decisive));
        let message = outcome(failures.collect(), &read);
        let pause = if matches!(message, Input::Synced(_)) {
            backoff.reset();
            READ_AGAIN + jitter(READ_AGAIN / 5)
        } else {
            backoff.pause()
        };
        if inputs.send(message).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            changed = endpoints.changed() => if changed.is_err() {
                return;
            },
            () = inputs.closed() => return,
        }
    }
}

/// What is to be said of all certificates together. One that was never read goes before those that
/// were: what it protects is not known, however long ago the others were read.
fn outcome(failures: Vec<(Option<ApiServer>, String)>, read: &BTreeSet<ApiServer>) -> Input {
    let source = Source::ApiServerCertificates;
    let (known, unknown): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|(server, _)| server.as_ref().is_some_and(|server| read.contains(server)));
    match (unknown.into_iter().next(), known.into_iter().next()) {
        (Some((_, why)), _) => Input::Incomplete(source, why),
        (None, Some((_, why))) => Input::Failed(source, why),
        (None, None) => Input::Synced(source),
    }
}

/// Reads all certificates at once. Returns what failed; without a server, nothing could be read.
async fn read_all(
    connection: &Connection,
    servers: &BTreeSet<ApiServer>,
    succeeded: &mut BTreeSet<ApiServer>,
    inputs: &Inputs,
) -> Vec<(Option<ApiServer>, String)> {
    let reader = match CertificateReader::new(&connection.config) {
        Ok(reader) => reader,
        Err(why) => return vec![(None, why)],
    };
    let mut reads = JoinSet::new();
    for server in servers.iter().cloned() {
        let reader = reader.clone();
        reads.spawn(async move {
            let result = reader.read(&server).await;
            (server, result)
        });
    }
    let mut failures = Vec::new();
    while let Some(read) = reads.join_next().await {
        match read {
            Ok((server, Ok(mut sans))) => {
                // The name that is dialled is one, whether it is in the certificate or not.
                sans.extend(San::from_host_text(&server.host));
                let message = Input::Protected(Part {
                    origin: origin(&server),
                    kind: IdentityKind::ApiServerIdentity,
                    sans,
                    networks: Vec::new(),
                });
                let _ = inputs.send(message).await;
                succeeded.insert(server);
            }
            Ok((server, Err(why))) => failures.push((Some(server), why)),
            Err(error) => failures.push((None, error.to_string())),
        }
    }
    failures
}

fn origin(server: &ApiServer) -> String {
    format!("certificate of {}", server.url())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Handshakes fail in any order, and one that was read before must not hide one that was not.
    #[test]
    fn a_certificate_that_was_never_read_is_told_whichever_fails_first() {
        let server = |last: u8| ApiServer::endpoint(&San::Ip([10, 0, 0, last].into()), 6443);
        let failed = |last| (Some(server(last)), "refused".to_owned());
        let read = BTreeSet::from([server(1)]);
        for failures in [vec![failed(1), failed(2)], vec![failed(2), failed(1)]] {
            let said = outcome(failures, &read);
            assert!(matches!(said, Input::Incomplete(..)), "{said:?}");
        }
        let said = outcome(vec![failed(1)], &read);
        assert!(matches!(said, Input::Failed(..)), "{said:?}");
        let said = outcome(vec![(None, "no CA".into())], &read);
        assert!(matches!(said, Input::Incomplete(..)), "{said:?}");
        assert!(matches!(outcome(Vec::new(), &read), Input::Synced(_)));
    }
}
