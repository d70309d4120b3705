//! A network link that can break: a TCP relay on a port of its own before the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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

/// A link. Dropping it cuts it for ever.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    opened: Arc<AtomicUsize>,
    relay: JoinHandle<()>,
}

impl Link {
    /// A link to this `https://` URL.
    pub async fn to(server: &str) -> Result<Self> {
        let target = server.strip_prefix("https://").context("https://")?;
        let target: SocketAddr = target.parse().context("an address and a port")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State::Up);
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let relay = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(near, target, seen.clone()));
            }
        });
        Ok(Self {
            address,
            state,
            opened,
            relay,
        })
    }

    /// The URL of the near end.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Closes every connection, and each new one.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps every connection, and each new one, without carrying anything.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Carries new connections again; those from before stay as they are.
    pub fn mend(&self) {
        self.state.send_replace(State::Up);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let up = *state.borrow_and_update() == State::Up;
    if up && let Ok(mut far) = TcpStream::connect(target).await {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => return,
            _ = state.wait_for(|state| *state != State::Up) => {}
        }
    }
    // A silent connection outlives the mending of the link: its other end knows nothing of it.
    let _ = state.wait_for(|state| *state == State::Cut).await;
}
