//! A watch that is kept alive: it streams lists where the server supports that, retries with a
//! jittered backoff, and reports every failure and every deleted object.
//!
//! Every failure is followed by a fresh list. A watch that resumes is silent until something
//! changes, so it would not prove that it works. A fresh list does, and shows that nothing was
//! missed.

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

/// `timeoutSeconds` of a watch. A half-open connection is detected soon after it.
pub const TIMEOUT_SECONDS: u32 = 60;

/// A change that a watch reports.
#[derive(Debug)]
pub enum Change<K, T> {
    /// An object was listed, created or updated.
    Applied {
        /// Its current state.
        object: T,
        /// True if a list contained it, false if the running watch reported it.
        is_listed: bool,
    },
    /// The object with this key was deleted.
    Deleted(K),
    /// The list is complete, and every deleted object was reported.
    Synced,
    /// The watch failed and will be retried.
    Failed(String),
}

/// Keys of the known objects, to find those that a fresh list lacks.
#[derive(Debug)]
pub struct Relist<K> {
    /// For each key, true if the current list contains it.
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
    /// Starts a list.
    fn begin(&mut self) {
        self.is_listing = true;
        for listed in self.known.values_mut() {
            *listed = false;
        }
    }

    /// Records an object. Returns true while a list is being read.
    fn applied(&mut self, key: K) -> bool {
        // An existing key stays: evidence shares the text of the first one while the object is unchanged.
        self.known.insert(key, true);
        self.is_listing
    }

    /// Removes a deleted object.
    fn deleted(&mut self, key: &K) {
        self.known.remove(key);
    }

    /// Ends the list. Returns the keys that it lacks.
    fn end(&mut self) -> Vec<K> {
        self.is_listing = false;
        let gone = self.known.extract_if(.., |_, listed| !*listed);
        gone.map(|(key, _)| key).collect()
    }
}

/// Follows a watch until `send` returns false.
///
/// `read` converts an object to its key and its value, or skips it with `None`. `relist` is empty,
/// or comes from the last watch on the same objects.
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
        // A server without streaming lists answers 422, an older one 400.
        if streaming && matches!(status, 400 | 422) {
            streaming = false;
            continue;
        }
        // 410 Gone means that the resourceVersion is too old. It is not a failure.
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
                // Only a complete list proves that the watch works: `Init` precedes the first
                // response.
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
    fn objects_missing_from_a_fresh_list_are_deleted() {
        let mut relist = Relist::default();
        relist.begin();
        assert!(relist.applied("a") && relist.applied("b"));
        assert!(relist.end().is_empty());
        assert!(!relist.applied("c") && !relist.applied("d"));
        relist.deleted(&"d");
        // An interrupted list deletes nothing.
        relist.begin();
        relist.applied("a");
        relist.begin();
        assert!(relist.applied("b") && relist.applied("e"));
        assert_eq!(relist.end(), ["a", "c"]);
        relist.begin();
        assert_eq!(relist.end(), ["b", "e"]);
    }
}
