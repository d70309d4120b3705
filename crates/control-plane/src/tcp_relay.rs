//! A network link that can break: a TCP relay on a port of its own before the API server.

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

/// How the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It carries.
    Up,
    /// Connections are closed as soon as they come.
    Cut,
    /// Connections stay and carry nothing, as behind a dead firewall.
    Silent,
}

/// What the link does to its connections.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    state: State,
    /// How long what the server sends is on its way.
    delay: Duration,
    /// How often all connections that there were have been closed.
    reset: u64,
}

/// A link. Dropping it cuts it for ever.
pub struct TcpRelay {
    address: SocketAddr,
    conditions: watch::Sender<Conditions>,
    opened: Arc<AtomicUsize>,
    relay: JoinHandle<()>,
}

impl TcpRelay {
    /// A link to this `https://` URL.
    pub async fn to(server: &str) -> Result<Self> {
        let target = server.strip_prefix("https://").context("https://")?;
        let target: SocketAddr = target.parse().context("an address and a port")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (conditions, seen) = watch::channel(Conditions {
            state: State::Up,
            delay: Duration::ZERO,
            reset: 0,
        });
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let relay = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(near, target, seen.clone()));
            }
        });
        Ok(Self {
            address,
            conditions,
            opened,
            relay,
        })
    }

    /// The URL of the near end.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The near end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Closes every connection, and each new one.
    pub fn cut(&self) {
        self.set_state(State::Cut);
    }

    /// Keeps every connection, and each new one, without carrying anything.
    pub fn silence(&self) {
        self.set_state(State::Silent);
    }

    /// Carries new connections again; those from before stay as they are.
    pub fn restore(&self) {
        self.set_state(State::Up);
    }

    fn set_state(&self, state: State) {
        self.conditions.send_modify(|now| now.state = state);
    }

    /// Closes every connection; new ones come about.
    pub fn reset(&self) {
        self.conditions.send_modify(|now| now.reset += 1);
    }

    /// From now on all that the server sends comes so much later.
    pub fn delay(&self, delay: Duration) {
        self.conditions.send_modify(|now| now.delay = delay);
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn relay(
    mut near: TcpStream,
    target: SocketAddr,
    mut conditions: watch::Receiver<Conditions>,
) {
    let begun = *conditions.borrow_and_update();
    let reset = move |now: &Conditions| now.reset != begun.reset;
    let up = begun.state == State::Up;
    if up && let Ok(mut far) = TcpStream::connect(target).await {
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
    // A silent connection outlives the mending of the link: its other end knows nothing of it.
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

/// Late is each byte by itself: a long answer takes no longer than a short one.
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
