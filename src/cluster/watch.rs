//! One watch, kept alive: streaming lists where the server has them, a fresh list after a 410 or a
//! failure, with a jittered backoff, and every failure named.
//!
//! A watch that is taken up again where it broke says nothing until something changes, so nobody
//! would learn that it works. A fresh list says it, and that nothing was missed.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::error::{describe_watch, watch_status};

/// How long the server keeps a watch open, in seconds. A connection that has died silently is
/// found out a little later.
pub const LASTS: u32 = 60;

/// What a watch tells.
#[derive(Debug)]
pub enum Change<T> {
    /// All objects are going to be listed (again).
    Restarted,
    /// An object is there, in this state.
    Seen(T),
    /// An object is gone; this was its last state.
    Gone(T),
    /// All objects have been listed: what was not seen since `Restarted` is gone.
    Complete,
    /// The watch fails and will be tried again.
    Failed(String),
}

/// Waits between tries: doubled from `first` to `most`, each with up to half of it more, so that
/// the replicas of a cluster do not come back at the same moment.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// A backoff that begins with `first`.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff {
            first,
            most,
            next: first,
        }
    }

    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.most);
        base + jitter(base / 2)
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random share of this duration.
pub fn jitter(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    let random = ring::rand::SystemRandom::new();
    // Without randomness there is no jitter, which costs the server a moment, nothing else.
    let _ = ring::rand::SecureRandom::fill(&random, &mut bytes);
    most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Follows a watch until `send` says that nobody listens any more.
pub async fn follow<K, S>(
    api: Api<K>,
    config: watcher::Config,
    mut send: impl FnMut(Change<K>) -> S,
) where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: Future<Output = bool>,
{
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));
    let mut streaming = true;
    loop {
        let mut config = config.clone().timeout(LASTS);
        if streaming {
            config = config.streaming_lists();
        }
        let mut stream = pin!(watcher(api.clone(), config));
        let path = api.resource_url();
        let end = run(&mut stream, path, &mut backoff, streaming, &mut send).await;
        match end {
            End::NobodyListens => return,
            End::StreamingRefused => streaming = false,
            End::ListAgain => {}
        }
    }
}

enum End {
    NobodyListens,
    StreamingRefused,
    ListAgain,
}

async fn run<K, S>(
    stream: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
    path: &str,
    backoff: &mut Backoff,
    streaming: bool,
    send: &mut impl FnMut(Change<K>) -> S,
) -> End
where
    S: Future<Output = bool>,
{
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(Event::Init) => Change::Restarted,
            Ok(Event::InitApply(object)) | Ok(Event::Apply(object)) => Change::Seen(object),
            Ok(Event::Delete(object)) => Change::Gone(object),
            Ok(Event::InitDone) => Change::Complete,
            Err(error) => {
                let status = watch_status(&error);
                // A server without streaming lists: 422, or 400 from those that know less.
                if streaming && matches!(status, 400 | 422) {
                    return End::StreamingRefused;
                }
                // 410 is how the server says that it has forgotten where we were: no failure.
                if status != 410 && !send(Change::Failed(describe_watch(&error, path))).await {
                    return End::NobodyListens;
                }
                sleep(backoff.pause()).await;
                return End::ListAgain;
            }
        };
        // Only a list that came to its end shows that it works: it begins before anything is sent.
        if matches!(change, Change::Complete) {
            backoff.reset();
        }
        if !send(change).await {
            return End::NobodyListens;
        }
    }
    End::ListAgain
}
