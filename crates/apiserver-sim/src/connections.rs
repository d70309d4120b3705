//! TCP connections that can be frozen, reset and stalled.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The state of all connections. Each has a number, in the order of arrival.
#[derive(Clone, Copy, Debug, Default)]
struct ConnectionState {
    /// If set, nothing is read or written.
    frozen: bool,
    /// Connections with a smaller number are reset.
    reset_below: u64,
    /// Connections with a smaller number stay open, but transfer no data.
    stalled_below: u64,
    /// The number of the next connection.
    next: u64,
}

/// All connections of a server.
pub(super) struct Connections {
    state: watch::Sender<ConnectionState>,
}

impl Connections {
    pub(super) fn new() -> Connections {
        Connections {
            state: watch::channel(ConnectionState::default()).0,
        }
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.state.send_modify(|state| state.frozen = frozen);
    }

    pub(super) fn reset(&self) {
        self.state
            .send_modify(|state| state.reset_below = state.next);
    }

    pub(super) fn stall(&self) {
        self.state
            .send_modify(|state| state.stalled_below = state.next);
    }

    /// Waits until the connections are not frozen. A stopped process accepts no connection.
    pub(super) async fn until_thawed(&self) {
        let mut seen = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = seen.wait_for(|state| !state.frozen).await;
    }

    /// Wraps a new connection.
    pub(super) fn wrap(&self, stream: TcpStream) -> Connection {
        let mut number = 0;
        self.state.send_modify(|state| {
            number = state.next;
            state.next = number.saturating_add(1);
        });
        let seen = self.state.subscribe();
        let changes = stream::unfold(seen.clone(), |mut seen| async {
            seen.changed().await.ok()?;
            Some(((), seen))
        });
        Connection {
            stream,
            number,
            seen,
            changes: changes.fuse().boxed(),
        }
    }
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    number: u64,
    seen: watch::Receiver<ConnectionState>,
    changes: BoxStream<'static, ()>,
}

impl Connection {
    /// Returns ready if data may be transferred.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Poll until pending, so that a change wakes the waiting task.
        while let Poll::Ready(Some(())) = self.changes.poll_next_unpin(context) {}
        let state = *self.seen.borrow();
        if self.number < state.reset_below {
            // With this option the kernel sends a reset instead of an orderly close.
            let _ =
                socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.frozen || self.number < state.stalled_below {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
