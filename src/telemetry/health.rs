//! Whether the daemon is_alive, and whether it is ready: what `/livez` and `/readyz` say.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The loop notes that it is_alive once in a second; without that for this long it hangs.
const MAX_LOOP_AGE: Duration = Duration::from_secs(30);

/// The state of the daemon as others may see it.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    updated: Notify,
}

#[derive(Debug)]
struct State {
    last_loop: Instant,
    /// What keeps it from being ready: name and reason.
    unready: Vec<(String, String)>,
    /// The permission that a write lacked last.
    forbidden: Option<String>,
}

impl Health {
    /// Alive and not ready: nothing has been read.
    pub fn new() -> Health {
        Health {
            state: Mutex::new(State {
                last_loop: Instant::now(),
                unready: vec![("start".into(), "nothing has been read yet".into())],
                forbidden: None,
            }),
            updated: Notify::new(),
        }
    }

    /// Notes that the loop goes round, and what keeps it from being ready.
    pub fn record_loop(&self, unready: Vec<(String, String)>) {
        if let Ok(mut state) = self.state.lock() {
            state.last_loop = Instant::now();
            state.unready = unready;
        }
        self.updated.notify_waiters();
    }

    /// Waits until nothing keeps it from being ready.
    pub async fn ready(&self) {
        loop {
            // Before the look: what is updated after it must not be missed.
            let updated = self.updated.notified();
            if self.unready_reasons().is_empty() {
                return;
            }
            updated.await;
        }
    }

    /// Notes which permission a write lacked; `None` when a write has gone through.
    pub fn record_forbidden(&self, why: Option<String>) {
        if let Ok(mut state) = self.state.lock() {
            state.forbidden = why;
        }
    }

    /// Whether the loop goes round.
    pub fn is_alive(&self) -> bool {
        self.state
            .lock()
            .is_ok_and(|state| state.last_loop.elapsed() < MAX_LOOP_AGE)
    }

    /// What keeps it from being ready, a line each; empty when it is.
    pub fn unready_reasons(&self) -> Vec<String> {
        let Ok(state) = self.state.lock() else {
            return vec!["state: cannot be read".into()];
        };
        let sources = state
            .unready
            .iter()
            .map(|(name, why)| format!("{name}: {why}"));
        let forbidden = state.forbidden.iter().map(|why| format!("approval: {why}"));
        sources.chain(forbidden).collect()
    }
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}
