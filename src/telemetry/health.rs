//! Liveness and readiness of the daemon, for `/livez` and `/readyz`.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Maximum age of the last turn of the loop, which turns every second. Beyond it the daemon is not
/// alive.
const MAX_LOOP_AGE: Duration = Duration::from_secs(30);

/// Liveness and readiness of the daemon.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    updated: Notify,
}

#[derive(Debug)]
struct State {
    last_loop: Instant,
    /// Names and reasons of what is not ready.
    unready: Vec<(String, String)>,
    /// The permission that the last write lacked.
    forbidden: Option<String>,
    /// The reason that the Lease can be neither held nor taken over.
    lease: Option<String>,
    /// A remark on the clock, which does not make the daemon unready.
    clock: Option<String>,
}

impl Health {
    /// Alive and not ready: nothing has been read.
    pub fn new() -> Health {
        Health {
            state: Mutex::new(State {
                last_loop: Instant::now(),
                unready: vec![("start".into(), "nothing has been read yet".into())],
                forbidden: None,
                lease: None,
                clock: None,
            }),
            updated: Notify::new(),
        }
    }

    /// Records a turn of the loop, and the reasons that the daemon is not ready.
    pub fn record_loop(&self, unready: Vec<(String, String)>) {
        if let Ok(mut state) = self.state.lock() {
            state.last_loop = Instant::now();
            state.unready = unready;
        }
        self.updated.notify_waiters();
    }

    /// Waits until the daemon is ready.
    pub async fn ready(&self) {
        loop {
            // Subscribed before the check, so that no update is missed.
            let updated = self.updated.notified();
            if self.unready_reasons().is_empty() {
                return;
            }
            updated.await;
        }
    }

    /// Records the permission that a write lacked; `None` after a write that succeeded.
    pub fn record_forbidden(&self, why: Option<String>) {
        if let Ok(mut state) = self.state.lock() {
            state.forbidden = why;
        }
    }

    /// Records the reason that this replica can never lead; `None` if it leads or stands by.
    pub fn record_lease(&self, why: Option<String>) {
        if let Ok(mut state) = self.state.lock() {
            state.lease = why;
        }
        self.updated.notify_waiters();
    }

    /// Records a remark on the clock; `None` removes it.
    pub fn record_clock(&self, remark: Option<String>) {
        if let Ok(mut state) = self.state.lock() {
            state.clock = remark;
        }
    }

    /// The remark on the clock.
    pub fn clock(&self) -> Option<String> {
        self.state.lock().ok()?.clock.clone()
    }

    /// Returns true if the loop turns.
    pub fn is_alive(&self) -> bool {
        self.state
            .lock()
            .is_ok_and(|state| state.last_loop.elapsed() < MAX_LOOP_AGE)
    }

    /// The reasons that the daemon is not ready, in one line each; empty when it is ready.
    pub fn unready_reasons(&self) -> Vec<String> {
        let Ok(state) = self.state.lock() else {
            return vec!["state: cannot be read".into()];
        };
        let sources = state
            .unready
            .iter()
            .map(|(name, why)| format!("{name}: {why}"));
        let forbidden = state.forbidden.iter().map(|why| format!("approval: {why}"));
        let lease = state.lease.iter().map(|why| format!("lease: {why}"));
        sources.chain(forbidden).chain(lease).collect()
    }
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}
