//! Connections of the HTTP server, within bounds: any pod may connect, and the kubelet's probes must
//! be answered nevertheless.
//!
//! - The number of connections is bounded, in total and for each client address. One more closes the
//!   oldest idle one of the address that has the most, so a new probe always gets in.
//! - Handshakes, headers, idle connections and connections as a whole have deadlines.
//! - Headers have a maximum size.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Maximum number of connections. The process may have 1,024 open files, of which writes take up to
/// 256.
const MAX_CONNECTIONS: usize = 128;
/// Maximum number of connections of one client address.
const MAX_OF_ADDRESS: usize = 32;
/// Maximum size of a request's headers, in bytes. A token has at most 16 KiB.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Deadline of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of a request's headers, from the end of the response before. Closes idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a connection is closed when its response is complete.
const MAX_AGE: Duration = Duration::from_secs(120);
/// Deadline of that response.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, such as without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections until the future is dropped, with TLS if there is an acceptor.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let mut tasks = JoinSet::new();
    let mut open = OpenConnections::default();
    let mut failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("cannot accept a connection to the HTTP server: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        while tasks.try_join_next().is_some() {}
        open.make_room(peer.ip().to_canonical());
        let busy = Arc::new(AtomicBool::new(false));
        let connection = Connection {
            peer,
            busy: busy.clone(),
            router: router.clone(),
        };
        let task = tasks.spawn(connection.run(stream, tls.clone()));
        open.add(peer.ip().to_canonical(), busy, task);
    }
}

/// One connection.
struct Connection {
    peer: SocketAddr,
    /// True while a request is answered.
    busy: Arc<AtomicBool>,
    router: Router,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else {
            return self.serve(stream).await;
        };
        if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            self.serve(stream).await;
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // A client that breaks the protocol or the connection is none of our errors.
        if timeout(MAX_AGE, connection.as_mut()).await.is_err() {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(LAST_RESPONSE_TIMEOUT, connection).await;
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<axum::response::Response, std::convert::Infallible> {
        self.busy.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.clone().oneshot(request).await;
        self.busy.store(false, Ordering::Relaxed);
        answer
    }
}

/// The open connections, in the order in which they were accepted.
#[derive(Debug, Default)]
struct OpenConnections(VecDeque<OpenConnection>);

#[derive(Debug)]
struct OpenConnection {
    address: IpAddr,
    busy: Arc<AtomicBool>,
    task: AbortHandle,
}

impl OpenConnections {
    fn add(&mut self, address: IpAddr, busy: Arc<AtomicBool>, task: AbortHandle) {
        self.0.push_back(OpenConnection {
            address,
            busy,
            task,
        });
    }

    /// Closes a connection if one more of this address would be too many.
    fn make_room(&mut self, address: IpAddr) {
        self.0.retain(|open| !open.task.is_finished());
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for open in &self.0 {
            *counts.entry(open.address).or_default() += 1;
        }
        let of_address = counts.get(&address).copied().unwrap_or_default();
        let largest = counts.iter().max_by_key(|(_, count)| **count);
        if of_address >= MAX_OF_ADDRESS {
            self.close_one_of(address);
        } else if self.0.len() >= MAX_CONNECTIONS
            && let Some((&largest, _)) = largest
        {
            self.close_one_of(largest);
        }
    }

    /// Closes the oldest idle connection of this address, or the oldest if none is idle.
    fn close_one_of(&mut self, address: IpAddr) {
        let is_idle = |open: &OpenConnection| !open.busy.load(Ordering::Relaxed);
        let of_address = |open: &OpenConnection| open.address == address;
        let idle = self
            .0
            .iter()
            .position(|open| of_address(open) && is_idle(open));
        let index = idle.or_else(|| self.0.iter().position(of_address));
        if let Some(closed) = index.and_then(|index| self.0.remove(index)) {
            closed.task.abort();
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: usize) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, u8::try_from(last).unwrap()).into()
    }

    async fn open(tasks: &mut JoinSet<()>, table: &mut OpenConnections, from: IpAddr, busy: bool) {
        table.make_room(from);
        let task = tasks.spawn(std::future::pending());
        table.add(from, Arc::new(AtomicBool::new(busy)), task);
        // An aborted task ends at its next turn.
        tokio::task::yield_now().await;
    }

    fn of(table: &OpenConnections, address: IpAddr) -> usize {
        table
            .0
            .iter()
            .filter(|open| open.address == address)
            .count()
    }

    #[tokio::test]
    async fn one_address_keeps_its_newest_connections() {
        let (mut tasks, mut table) = (JoinSet::new(), OpenConnections::default());
        open(&mut tasks, &mut table, address(2), false).await;
        open(&mut tasks, &mut table, address(1), true).await;
        for _ in 0..2 * MAX_OF_ADDRESS {
            open(&mut tasks, &mut table, address(1), false).await;
        }
        assert_eq!(of(&table, address(1)), MAX_OF_ADDRESS);
        assert_eq!(of(&table, address(2)), 1);
        let busy = |open: &OpenConnection| open.busy.load(Ordering::Relaxed);
        assert!(table.0.iter().any(busy), "the busy one is closed last");
        for _ in 0..MAX_OF_ADDRESS {
            open(&mut tasks, &mut table, address(1), true).await;
        }
        assert!(table.0.iter().skip(1).all(busy));
        let oldest = table.0[1].task.clone();
        open(&mut tasks, &mut table, address(1), true).await;
        assert!(oldest.is_finished(), "all are busy: the oldest is closed");
    }

    #[tokio::test]
    async fn the_address_with_the_most_gives_way() {
        let (mut tasks, mut table) = (JoinSet::new(), OpenConnections::default());
        open(&mut tasks, &mut table, address(0), false).await;
        let few = MAX_CONNECTIONS / MAX_OF_ADDRESS + 2;
        for number in 1..=few {
            for _ in 0..MAX_OF_ADDRESS {
                open(&mut tasks, &mut table, address(number), false).await;
            }
        }
        assert_eq!(table.0.len(), MAX_CONNECTIONS);
        assert_eq!(of(&table, address(0)), 1);
        let most = (1..=few).map(|number| of(&table, address(number))).max();
        assert!(most.unwrap() <= MAX_OF_ADDRESS);
        for number in 100..200 {
            open(&mut tasks, &mut table, address(number), false).await;
            assert_eq!(of(&table, address(number)), 1);
        }
        assert_eq!(table.0.len(), MAX_CONNECTIONS);
    }
}
