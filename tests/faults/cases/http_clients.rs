//! Hostile clients of the daemon's HTTP server. Addresses of the loopback network are their pods.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use apiserver_sim::{Fault, Faults, User};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, end, memory, run_scenario};
use crate::test_cluster::TestCluster;
use control_plane::https::Https;
use control_plane::pki::Authority;

/// The number of connections. The daemon may have 1,024 open files.
const CONNECTIONS: usize = 1100;
/// The number of client addresses.
const ADDRESSES: usize = 11;
/// The size of the endless headers of a connection, in bytes.
const HEADER_BYTES: usize = 390 * 1024;
/// The maximum growth of resident memory, in KiB: 128 connections with 32 KiB of headers each, and
/// buffers of TLS.
const MAX_GROWTH_KIB: u64 = 24 * 1024;
/// The number of attempts of a kubelet's probe, as in a Pod.
const PROBES: usize = 3;
/// The deadline for all connections to be closed by the daemon.
const CLOSED: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);
/// Lets the user `scraper` read the metrics.
const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: csr-warden-metrics-reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: scraper}]
";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_http_connections",
            "pods hold 1,100 connections to the metrics port, silent or with endless headers; the daemon may have 1,024 open files",
            http_connections,
        ),
        Case::new(
            "embedded_tls_connections",
            "the same over HTTPS, before and after the handshake",
            tls_connections,
        ),
        Case::new(
            "embedded_wrong_tokens",
            "pods request metrics with wrong tokens continuously; the API server takes 500 ms for each review",
            wrong_tokens,
        ),
    ]
}

/// Behavior of a hostile client on its connection.
#[derive(Clone, Copy)]
enum Client {
    Silent,
    EndlessHeaders,
}

/// Connects from one of the addresses.
async fn connect(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let last = u8::try_from(2 + number % ADDRESSES)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    Ok(timeout(SOON, socket.connect(server)).await??)
}

/// Holds a connection until the daemon closes it.
async fn hold(mut stream: impl AsyncRead + AsyncWrite + Unpin, client: Client) {
    if let Client::EndlessHeaders = client {
        let begin = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ";
        let _ = stream.write_all(begin).await;
        let _ = stream.write_all(&vec![b'a'; HEADER_BYTES]).await;
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// Waits until the daemon has closed the connections of all clients.
async fn all_closed(mut clients: JoinSet<()>) -> Result<()> {
    let all = async { while clients.join_next().await.is_some() {} };
    let closed = timeout(CLOSED, all).await;
    closed.with_context(|| format!("connections are open after {CLOSED:?}"))
}

async fn http_connections(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start_by("ulimit -n 1024; exec \"$0\" \"$@\"".into());
    test_cluster.start(&["one"], &[]).await?;
    let before = memory(&test_cluster, 0)?;
    let mut peak = 0;
    let during = async |test_cluster: &mut TestCluster, _: Duration| {
        let daemon = &test_cluster.replicas[0];
        let mut clients = JoinSet::new();
        for number in 0..CONNECTIONS {
            let client = match number % 2 {
                0 => Client::Silent,
                _ => Client::EndlessHeaders,
            };
            let stream = connect(daemon.address(), number / 2).await?;
            clients.spawn(hold(stream, client));
            if number % 100 == 99 {
                probe(async || daemon.http_get("/livez").await.map(|answer| answer.status)).await?;
                peak = peak.max(daemon.resident_kib()?);
            }
        }
        all_closed(clients).await?;
        probe(async || daemon.http_get("/livez").await.map(|answer| answer.status)).await
    };
    let expectations = Expectations::default();
    let mut seen =
        run_scenario(&mut test_cluster, &scale, scale.fault, expectations, during).await?;
    ensure!(
        peak <= before + MAX_GROWTH_KIB,
        "{before} KiB became {peak} KiB"
    );
    seen.note = format!("at most {} KiB, before {before} KiB", peak);
    Ok(seen)
}

/// Probes as a kubelet does, which restarts the Pod after some failures in a row.
async fn probe(get: impl AsyncFn() -> Result<u16>) -> Result<()> {
    let mut failures = Vec::new();
    for _ in 0..PROBES {
        match get().await {
            Ok(200) => return Ok(()),
            other => failures.push(other),
        }
    }
    bail!("no probe was answered: {failures:?}")
}

/// Starts a daemon with HTTPS and these other arguments. Returns its clients.
async fn start_with_tls(
    test_cluster: &mut TestCluster,
    args: &[&str],
) -> Result<(Https, TlsConnector)> {
    let authority = Authority::create(test_cluster.dir())?;
    let pair = authority.serving("metrics", &[], &[Ipv4Addr::LOCALHOST.into()])?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("no text");
    let flags = [
        format!("--tls-cert-file={}", text(&pair.cert)?),
        format!("--tls-private-key-file={}", text(&pair.key)?),
    ];
    let all: Vec<&str> = flags.iter().map(String::as_str).collect();
    let all = [all.as_slice(), args].concat();
    let daemon = test_cluster.launch("one", &all).await?;
    let https = Https::new(daemon.address(), &authority.pair().cert)?;
    https.wait("/readyz", None, 200, SOON).await?;
    test_cluster.replicas.push(daemon);
    let mut roots = RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_file(authority.pair().cert)?;
    roots.add(ca)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((https, TlsConnector::from(Arc::new(config))))
}

async fn tls_connections(_: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start_by("ulimit -n 1024; exec \"$0\" \"$@\"".into());
    let (https, connector) = start_with_tls(&mut test_cluster, &[]).await?;
    let get = async || {
        https
            .get("/livez", None)
            .await
            .map(|(answer, _)| answer.status)
    };
    let before = memory(&test_cluster, 0)?;
    let begun = Instant::now();
    let mut peak = 0;
    let address = test_cluster.replicas[0].address();
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let stream = connect(address, number / 3).await?;
        let connector = connector.clone();
        clients.spawn(async move {
            let client = match number % 3 {
                0 => return hold(stream, Client::Silent).await,
                1 => Client::Silent,
                _ => Client::EndlessHeaders,
            };
            let name = ServerName::from(address.ip());
            if let Ok(stream) = connector.connect(name, stream).await {
                hold(stream, client).await;
            }
        });
        if number % 100 == 99 {
            probe(get).await?;
            peak = peak.max(memory(&test_cluster, 0)?);
        }
    }
    all_closed(clients).await?;
    probe(get).await?;
    let after = memory(&test_cluster, 0)?;
    ensure!(
        peak <= before + MAX_GROWTH_KIB,
        "{before} KiB became {peak} KiB"
    );
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted: begun.elapsed(),
        served: 0,
        denied: 0,
        recovered: Duration::ZERO,
        memory: (before, after),
        note: format!("at most {peak} KiB"),
    })
}

async fn wrong_tokens(scale: Scale) -> Result<Measured> {
    const RIGHTS: &str = include_str!("../../../deploy/components/metrics-auth/rights.yaml");
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.grant(RIGHTS).await?;
    test_cluster.grant(READER).await?;
    let (https, connector) = start_with_tls(&mut test_cluster, &["--metrics-auth"]).await?;
    let scraper = User::new("scraper", &["system:authenticated"]);
    let mut token = || {
        test_cluster
            .server()
            .map(|server| server.token(scraper.clone()))
    };
    let tokens = [token()?, token()?, token()?];
    let slow = Fault::Delay(Duration::from_millis(500));
    let reviews = Faults::default().with(slow, 1.0, "", "tokenreviews");
    test_cluster.server()?.set_faults(reviews);
    let before = memory(&test_cluster, 0)?;
    let address = test_cluster.replicas[0].address();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..10 * ADDRESSES {
        let (connector, stop) = (connector.clone(), stop.clone());
        clients.spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let _ = ask(address, number, &connector, &format!("{number}-{count}")).await;
                count += 1;
            }
        });
    }
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < scale.fault {
        for token in &tokens {
            let asked = Instant::now();
            let (answer, _) = https.get("/metrics", Some(token)).await?;
            ensure!(answer.status == 200, "{answer:?}");
            longest = longest.max(asked.elapsed());
        }
        probe(async || {
            https
                .get("/livez", None)
                .await
                .map(|(answer, _)| answer.status)
        })
        .await?;
        sleep(Duration::from_millis(50)).await;
    }
    let peak = memory(&test_cluster, 0)?;
    stop.store(true, Ordering::Relaxed);
    all_closed(clients).await?;
    ensure!(
        peak <= before + MAX_GROWTH_KIB,
        "{before} KiB became {peak} KiB"
    );
    let (answer, _) = https.get("/metrics", Some("wrong")).await?;
    ensure!(answer.status == 401, "{answer:?}");
    let after = memory(&test_cluster, 0)?;
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted: begun.elapsed(),
        served: 0,
        denied: 0,
        recovered: Duration::ZERO,
        memory: (before, after),
        note: format!("a valid token waited for at most {longest:.1?}"),
    })
}

/// Asks for the metrics with this token.
async fn ask(
    address: SocketAddr,
    number: usize,
    connector: &TlsConnector,
    token: &str,
) -> Result<()> {
    let stream = connect(address, number).await?;
    let name = ServerName::from(address.ip());
    let mut stream = connector.connect(name, stream).await?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(())
}
