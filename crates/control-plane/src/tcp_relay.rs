//! A TCP relay in front of the API server that can be cut, silenced, delayed and moved to another one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The state of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Data is forwarded.
    Up,
    /// Connections are closed as soon as they are opened.
    Cut,
    /// Connections stay open but transfer no data, as behind a dead firewall.
    Silent,
}

/// The state that all connections follow.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    state: State,
    /// The API server.
    target: SocketAddr,
    /// The delay of data from the server.
    delay: Duration,
    /// The number of times that all connections have been closed.
    reset: u64,
}

/// A TCP relay. Dropping it closes all connections.
pub struct TcpRelay {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    opened: Arc<AtomicUsize>,
    relay: JoinHandle<()>,
}

impl TcpRelay {
    /// Starts a relay to this `https://` URL, at a free port of 127.0.0.1.
    pub async fn to(server: &str) -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), server).await
    }

    /// Starts a relay at this address to this `https://` URL.
    pub async fn at(address: SocketAddr, server: &str) -> Result<Self> {
        let target = target(server)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (conditions, seen) = watch::channel(Conditions {
            state: State::Up,
            target,
            delay: Duration::ZERO,
            reset: 0,
        });
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let relay = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(near, seen.clone()));
            }
        });
        Ok(Self {
            address,
            conditions,
            opened,
            relay,
        })
    }

    /// Returns the URL of the relay.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns the address of the relay.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Closes every connection, and each new one.
    pub fn cut(&self) {
        self.set_state(State::Cut);
    }

    /// Keeps every connection and each new one open without transferring data.
    pub fn silence(&self) {
        self.set_state(State::Silent);
    }

    /// Forwards new connections again. Older ones stay as they are.
    pub fn restore(&self) {
        self.set_state(State::Up);
    }

    fn set_state(&self, state: State) {
        self.conditions.send_modify(|now| now.state = state);
    }

    /// Closes every connection. New ones are forwarded.
    pub fn reset(&self) {
        self.conditions.send_modify(|now| now.reset += 1);
    }

    /// Closes every connection. New ones are forwarded to this `https://` URL.
    pub fn move_to(&self, server: &str) -> Result<()> {
        let target = target(server)?;
        self.conditions.send_modify(|now| {
            now.target = target;
            now.reset += 1;
        });
        Ok(())
    }

    /// Delays all data from the server by this time.
    pub fn delay(&self, delay: Duration) {
        self.conditions.send_modify(|now| now.delay = delay);
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

fn target(server: &str) -> Result<SocketAddr> {
    let target = server.strip_prefix("https://").context("https://")?;
    target.parse().context("an address and a port")
}

async fn relay(mut near: TcpStream, mut conditions: watch::Receiver<Conditions>) {
    let begun = *conditions.borrow_and_update();
    let reset = move |now: &Conditions| now.reset != begun.reset;
    let up = begun.state == State::Up;
    if up && let Ok(mut far) = TcpStream::connect(begun.target).await {
        let (questions, near_end) = near.split();
        let (answers, far_end) = far.split();
        let late = forward_delayed(answers, near_end, conditions.clone());
        let both = async { tokio::try_join!(forward(questions, far_end), late) };
        let mut seen = conditions.clone();
        tokio::select! {
            _ = both => return,
            _ = seen.wait_for(|now| now.state != State::Up || reset(now)) => {}
        }
    }
    // A silent connection stays silent after `restore`: its other end does not know about it.
    let closed = |now: &Conditions| now.state == State::Cut || reset(now);
    let _ = conditions.wait_for(closed).await;
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Forwards data with a delay for each byte: a long response takes no longer than a short one.
async fn forward_delayed(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    conditions: watch::Receiver<Conditions>,
) -> io::Result<()> {
    let (send, mut sent) = mpsc::unbounded_channel();
    let read = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 * 1024);
            if from.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let due = Instant::now() + conditions.borrow().delay;
            if send.send((due, bytes)).is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = sent.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}
