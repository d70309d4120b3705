//! Names and addresses of the API servers, read from the serving certificates that they present.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::Config;
use tokio::sync::watch;
use tokio::time::sleep;

use super::input::{InForce, Input, Inputs};
use crate::cluster::apiserver_certificates::{ApiServer, CertificateReader};
use crate::cluster::backoff::Backoff;
use crate::cluster::clock::Clock;
use crate::cluster::random::Random;
use judge::evidence::{Fact, Source};
use judge::policy::Requirement;

/// Interval of the periodic re-read.
const READ_AGAIN: Duration = Duration::from_secs(600);
/// Limit of concurrent handshakes.
const HANDSHAKES_AT_ONCE: usize = 64;

/// Reads the certificate of every API server: at startup, when the endpoints or the policy change, and
/// periodically.
pub(super) async fn read_certificates(
    config: Config,
    clock: Clock,
    mut policy: watch::Receiver<InForce>,
    mut endpoints: watch::Receiver<Option<BTreeSet<ApiServer>>>,
    random: Random,
    inputs: Inputs,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), &random);
    let mut known: BTreeSet<ApiServer> = BTreeSet::new();
    let mut read: BTreeSet<ApiServer> = BTreeSet::new();
    // True once a complete read was reported.
    let mut whole = false;
    let configured = ApiServer::configured(&config);
    loop {
        // The servers are known only once the endpoints have been listed.
        let listed = match endpoints.wait_for(Option::is_some).await {
            Ok(listed) => listed.clone(),
            Err(_) => return,
        };
        endpoints.mark_unchanged();
        let demand = {
            let in_force = policy.borrow_and_update();
            in_force.policy.spec.protected.endpoint_certificates
        };
        let servers: BTreeSet<ApiServer> = listed
            .into_iter()
            .flatten()
            .chain(configured.clone())
            .collect();
        for gone in known.difference(&servers) {
            let _ = inputs
                .send(Input::Fact(Fact::Unprotected(gone.origin())))
                .await;
        }
        read.retain(|server| servers.contains(server));
        known.clone_from(&servers);
        let decisive = |server: &ApiServer| {
            demand == Requirement::Required || Some(server) == configured.as_ref()
        };
        let say = |said: Fact| inputs.send(Input::Certificates(demand, said));

        // The identities of a new server are unknown from now on, not only when a handshake has failed.
        let unread = servers
            .iter()
            .find(|server| decisive(server) && !read.contains(*server));
        if let Some(server) = unread.filter(|_| whole) {
            whole = false;
            let why = format!("{}: its certificate has not been read yet", server.url());
            let said = Fact::Incomplete(Source::ApiServerCertificates, why);
            if say(said).await.is_err() {
                return;
            }
        }
        let failures = tokio::select! {
            biased;
            failures = read_all(&config, &clock, &servers, &mut read, &inputs) => failures,
            go_on = changed(&mut endpoints, &mut policy) => if go_on {
                continue;
            } else {
                return;
            },
        };
        let failures = failures
            .into_iter()
            .filter(|(server, _)| server.as_ref().is_none_or(decisive));
        let message = outcome(failures.collect(), &read);
        whole = !matches!(message, Fact::Incomplete(..));
        let pause = if matches!(message, Fact::Synced(_)) {
            backoff.reset();
            READ_AGAIN + random.jitter(READ_AGAIN / 5)
        } else {
            backoff.pause()
        };
        if say(message).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            go_on = changed(&mut endpoints, &mut policy) => if !go_on {
                return;
            },
            () = inputs.closed() => return,
        }
    }
}

/// Waits for a change of endpoints or policy. Returns false once one of them can no longer change.
async fn changed(
    endpoints: &mut watch::Receiver<Option<BTreeSet<ApiServer>>>,
    policy: &mut watch::Receiver<InForce>,
) -> bool {
    tokio::select! {
        biased;
        changed = endpoints.changed() => changed.is_ok(),
        changed = policy.changed() => changed.is_ok(),
    }
}

/// State of all certificates together. A certificate that was never read outweighs one that failed
/// again: its names are unknown.
fn outcome(failures: Vec<(Option<ApiServer>, String)>, read: &BTreeSet<ApiServer>) -> Fact {
    let source = Source::ApiServerCertificates;
    let (known, unknown): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|(server, _)| server.as_ref().is_some_and(|server| read.contains(server)));
    match (unknown.into_iter().next(), known.into_iter().next()) {
        (Some((_, why)), _) => Fact::Incomplete(source, why),
        (None, Some((_, why))) => Fact::Failed(source, why),
        (None, None) => Fact::Synced(source),
    }
}

/// Reads all certificates, beginning with those never read. Returns the failures; one without a
/// server means that none could be read.
async fn read_all(
    config: &Config,
    clock: &Clock,
    servers: &BTreeSet<ApiServer>,
    succeeded: &mut BTreeSet<ApiServer>,
    inputs: &Inputs,
) -> Vec<(Option<ApiServer>, String)> {
    let reader = match CertificateReader::new(config, clock) {
        Ok(reader) => reader,
        Err(why) => return vec![(None, why.to_string())],
    };
    let (known, new): (Vec<_>, Vec<_>) = servers
        .iter()
        .cloned()
        .partition(|server| succeeded.contains(server));
    let reads = new.into_iter().chain(known).map(|server| {
        let reader = reader.clone();
        async move {
            let read = reader.read(&server).await;
            let protection = read.and_then(|certificate| server.protection(&certificate));
            (server, protection)
        }
    });
    let mut reads = stream::iter(reads).buffer_unordered(HANDSHAKES_AT_ONCE);
    let mut failures = Vec::new();
    while let Some((server, result)) = reads.next().await {
        match result {
            Ok(protection) => {
                let message = Input::Fact(Fact::Protected(protection));
                let _ = inputs.send(message).await;
                succeeded.insert(server);
            }
            Err(why) => failures.push((Some(server), why.to_string())),
        }
    }
    failures
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use judge::csr::names::San;
    use judge::policy::default_policy;

    /// Handshakes fail in any order, and one that was read before must not hide one that was not.
    #[test]
    fn a_certificate_that_was_never_read_is_told_whichever_fails_first() {
        let server = |last: u8| ApiServer::endpoint(&San::Ip([10, 0, 0, last].into()), 6443);
        let failed = |last| (Some(server(last)), "refused".to_owned());
        let read = BTreeSet::from([server(1)]);
        for failures in [vec![failed(1), failed(2)], vec![failed(2), failed(1)]] {
            let said = outcome(failures, &read);
            assert!(matches!(said, Fact::Incomplete(..)), "{said:?}");
        }
        let said = outcome(vec![failed(1)], &read);
        assert!(matches!(said, Fact::Failed(..)), "{said:?}");
        let said = outcome(vec![(None, "no CA".into())], &read);
        assert!(matches!(said, Fact::Incomplete(..)), "{said:?}");
        assert!(matches!(outcome(Vec::new(), &read), Fact::Synced(_)));
    }

    /// An API server with this certificate; returns its address.
    async fn serve(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> ApiServer {
        let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = listen().await;
        let server = at(&listener);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        server
    }

    async fn listen() -> TcpListener {
        TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
    }

    fn at(listener: &TcpListener) -> ApiServer {
        let address = listener.local_addr().unwrap();
        ApiServer::endpoint(&San::Ip(address.ip()), address.port())
    }

    fn in_force(demand: Requirement) -> InForce {
        let mut policy = default_policy().unwrap();
        policy.spec.protected.endpoint_certificates = demand;
        InForce {
            policy: Arc::new(policy),
            generation: 0,
        }
    }

    /// Next reported state, with the demand that it is for.
    async fn said(inputs: &mut mpsc::Receiver<Input>) -> (Requirement, Fact) {
        loop {
            if let Input::Certificates(demand, said) = inputs.recv().await.unwrap() {
                return (demand, said);
            }
        }
    }

    fn lacks(said: &(Requirement, Fact), server: &ApiServer, words: &str) -> bool {
        matches!(said, (Requirement::Required, Fact::Incomplete(_, why))
            if why.starts_with(&server.url()) && why.contains(words))
    }

    #[tokio::test]
    async fn a_new_endpoint_is_missed_until_its_certificate_was_read() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = ["kubernetes.default.svc".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let (own, other) = (serve(&pair).await, serve(&pair).await);
        let mut config = Config::new(own.url().parse().unwrap());
        config.root_cert = Some(vec![pair.cert.der().to_vec()]);

        let (policy, policies) = watch::channel(in_force(Requirement::Required));
        let (endpoints, listed) = watch::channel(Some(BTreeSet::new()));
        let (sender, mut inputs) = mpsc::channel(16);
        let random = Random::seeded(1);
        tokio::spawn(read_certificates(
            config,
            Clock::of_machine(),
            policies,
            listed,
            random,
            sender,
        ));
        let first = said(&mut inputs).await;
        assert!(matches!(first.1, Fact::Synced(_)), "{first:?}");

        // It accepts the connection and stays silent; the report does not wait for it.
        let listener = listen().await;
        let silent = at(&listener);
        endpoints.send_replace(Some(BTreeSet::from([silent.clone()])));
        let new = said(&mut inputs).await;
        assert!(lacks(&new, &silent, "has not been read yet"), "{new:?}");
        endpoints.send_replace(Some(BTreeSet::from([other])));
        let whole = said(&mut inputs).await;
        assert!(matches!(whole.1, Fact::Synced(_)), "{whole:?}");

        // The port is closed now.
        drop(listener);
        policy.send_replace(in_force(Requirement::Optional));
        endpoints.send_replace(Some(BTreeSet::from([silent.clone()])));
        let optional = loop {
            let said = said(&mut inputs).await;
            if said.0 == Requirement::Optional {
                break said;
            }
        };
        assert!(matches!(optional.1, Fact::Synced(_)), "{optional:?}");
        policy.send_replace(in_force(Requirement::Required));
        let required = loop {
            let said = said(&mut inputs).await;
            if said.0 == Requirement::Required {
                break said;
            }
        };
        assert!(
            lacks(&required, &silent, "has not been read yet"),
            "{required:?}"
        );
        let refused = said(&mut inputs).await;
        assert!(lacks(&refused, &silent, "refused"), "{refused:?}");
    }
}
