//! One watch, kept alive: streaming lists where the server has them, a fresh list after a 410 or a
//! failure, with a jittered backoff, every failure named, and whatever is gone told one by one.
//!
//! A watch that is taken up again where it broke says nothing until something changes, so nobody
//! would learn that it works. A fresh list says it, and that nothing was missed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::error::{describe_watch, watch_status};
use super::random::Random;

/// How long the server keeps a watch open, in seconds. A connection that has died silently is
/// found out a little later.
pub const TIMEOUT_SECONDS: u32 = 60;

/// What a watch tells.
#[derive(Debug)]
pub enum Change<K, T> {
    /// An object is there.
    Applied {
        /// In this state.
        object: T,
        /// Whether a list shows it, not the running watch.
        is_listed: bool,
    },
    /// The object of this key is gone.
    Deleted(K),
    /// All objects have been listed, and all that are gone have been told.
    Synced,
    /// The watch fails and will be tried again.
    Failed(String),
}

/// The keys of the objects that are there, to know after a fresh list which are not any more.
#[derive(Debug)]
pub struct Relist<K> {
    /// Each with whether the list that is being read has shown it.
    known: BTreeMap<K, bool>,
    is_listing: bool,
}

impl<K> Default for Relist<K> {
    fn default() -> Relist<K> {
        Relist {
            known: BTreeMap::new(),
            is_listing: false,
        }
    }
}

impl<K: Ord> Relist<K> {
    /// A list begins.
    fn begin(&mut self) {
        self.is_listing = true;
        for listed in self.known.values_mut() {
            *listed = false;
        }
    }

    /// An object is there. Returns whether that is of a list.
    fn applied(&mut self, key: K) -> bool {
        // The key that is there already stays: whoever has it shares its text.
        self.known.insert(key, true);
        self.is_listing
    }

    /// An object is gone.
    fn deleted(&mut self, key: &K) {
        self.known.remove(key);
    }

    /// The list has come to its end. Returns what it has not shown.
    fn end(&mut self) -> Vec<K> {
        self.is_listing = false;
        let gone = self.known.extract_if(.., |_, listed| !*listed);
        gone.map(|(key, _)| key).collect()
    }
}

/// Follows a watch until `send` says that nobody listens any more. `read` makes of an object what is
/// told of it, and the key by which it is told to be gone; it leaves out what gives `None`.
/// `relist` is empty, or what the last watch on the same objects has left.
pub async fn follow<O, K, T, S>(
    api: Api<O>,
    config: watcher::Config,
    relist: &mut Relist<K>,
    random: &Random,
    read: impl Fn(O) -> Option<(K, T)>,
    mut send: impl FnMut(Change<K, T>) -> S,
) where
    O: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Ord,
    S: Future<Output = bool>,
{
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15), random);
    let mut streaming = true;
    loop {
        let mut config = config.clone().timeout(TIMEOUT_SECONDS);
        if streaming {
            config = config.streaming_lists();
        }
        let mut stream = pin!(watcher(api.clone(), config));
        let failure = run(&mut stream, relist, &mut backoff, &read, &mut send).await;
        let error = match failure {
            End::ReceiverClosed => return,
            End::Closed => continue,
            End::Failed(error) => error,
        };
        let status = watch_status(&error);
        // A server without streaming lists: 422, or 400 from those that know less.
        if streaming && matches!(status, 400 | 422) {
            streaming = false;
            continue;
        }
        // 410 is how the server says that it has forgotten where we were: no failure.
        let path = api.resource_url();
        if status != 410 && !send(Change::Failed(describe_watch(&error, path))).await {
            return;
        }
        sleep(backoff.pause()).await;
    }
}

enum End {
    ReceiverClosed,
    Closed,
    Failed(watcher::Error),
}

async fn run<O, K, T, S>(
    stream: &mut (impl Stream<Item = watcher::Result<Event<O>>> + Unpin),
    relist: &mut Relist<K>,
    backoff: &mut Backoff,
    read: &impl Fn(O) -> Option<(K, T)>,
    send: &mut impl FnMut(Change<K, T>) -> S,
) -> End
where
    K: Ord,
    S: Future<Output = bool>,
{
    while let Some(event) = stream.next().await {
        let change = match event {
            Err(error) => return End::Failed(error),
            Ok(Event::Init) => {
                relist.begin();
                continue;
            }
            Ok(Event::InitApply(object)) | Ok(Event::Apply(object)) => {
                let Some((key, object)) = read(object) else {
                    continue;
                };
                let is_listed = relist.applied(key);
                Change::Applied { object, is_listed }
            }
            Ok(Event::Delete(object)) => {
                let Some((key, _)) = read(object) else {
                    continue;
                };
                relist.deleted(&key);
                Change::Deleted(key)
            }
            Ok(Event::InitDone) => {
                // Only a list that came to its end shows that it works: it begins before anything
                // is sent.
                backoff.reset();
                for key in relist.end() {
                    if !send(Change::Deleted(key)).await {
                        return End::ReceiverClosed;
                    }
                }
                Change::Synced
            }
        };
        if !send(change).await {
            return End::ReceiverClosed;
        }
    }
    End::Closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fresh_list_does_not_show_is_gone() {
        let mut relist = Relist::default();
        relist.begin();
        assert!(relist.applied("a") && relist.applied("b"));
        assert!(relist.end().is_empty());
        assert!(!relist.applied("c") && !relist.applied("d"));
        relist.deleted(&"d");
        // Broken off: nobody is gone because of it.
        relist.begin();
        relist.applied("a");
        relist.begin();
        assert!(relist.applied("b") && relist.applied("e"));
        assert_eq!(relist.end(), ["a", "c"]);
        relist.begin();
        assert_eq!(relist.end(), ["b", "e"]);
    }
}
