//! Start and end of watches.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::collection::Watcher;
use super::event::Event;
use super::scope::Scope;
use super::stored::Stored;
use super::{Compacted, Store};

/// The maximum number of pending events before a watcher is dropped.
const MAX_PENDING_EVENTS: usize = 16_384;

/// The start of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At the current version, with all existing objects.
    Now,
    /// After this version.
    Version(u64),
}

/// A watch in progress. It ends when dropped.
pub(crate) struct Subscription {
    pub(crate) events: mpsc::Receiver<Arc<Event>>,
    store: Arc<Store>,
    storage: &'static str,
    place: Place,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.store.lock();
        let Some(collection) = inner.collections.get_mut(self.storage) else {
            return;
        };
        match &self.place {
            Place::General(id) => {
                collection.watchers.remove(id);
            }
            Place::OfKey(key, id) => {
                if let Some(watchers) = collection.watchers_of_key.get_mut(key) {
                    watchers.remove(id);
                    if watchers.is_empty() {
                        collection.watchers_of_key.remove(key);
                    }
                }
            }
        }
    }
}

#[derive(Clone)]
enum Place {
    General(u64),
    OfKey(String, u64),
}

impl Store {
    /// Starts a watch. Returns its version and, for [`From::Now`], the existing objects.
    pub(crate) fn watch(
        self: &Arc<Store>,
        storage: &'static str,
        namespaced: bool,
        scope: &Scope,
        from: From,
    ) -> Result<(u64, Vec<Arc<Stored>>, Subscription), Compacted> {
        let (send, events) = mpsc::channel(MAX_PENDING_EVENTS);
        let mut inner = self.lock();
        let version = inner.version;
        let id = inner.next_watcher;
        inner.next_watcher = id.saturating_add(1);
        let collection = inner.collections.entry(storage).or_default();
        let key = scope.key(namespaced);
        let mut present = Vec::new();
        match from {
            From::Now => {
                let covered = |stored: &&Arc<Stored>| scope.covers(stored);
                match &key {
                    Some(key) => {
                        present.extend(collection.objects.get(key).filter(covered).cloned())
                    }
                    None => present.extend(collection.objects.values().filter(covered).cloned()),
                }
            }
            From::Version(version) => {
                if version < collection.compacted {
                    return Err(Compacted {
                        oldest: collection.compacted,
                    });
                }
                for event in collection
                    .since(version)
                    .filter(|event| scope.concerns(event))
                {
                    // A full channel is detected by the watcher, which is dropped.
                    let _ = send.try_send(Arc::clone(event));
                }
            }
        }
        let watcher = Watcher {
            scope: scope.clone(),
            events: send,
        };
        let place = match key {
            Some(key) => {
                let watchers = collection.watchers_of_key.entry(key.clone()).or_default();
                watchers.insert(id, watcher);
                Place::OfKey(key, id)
            }
            None => {
                collection.watchers.insert(id, watcher);
                Place::General(id)
            }
        };
        let subscription = Subscription {
            events,
            store: Arc::clone(self),
            storage,
            place,
        };
        Ok((version, present, subscription))
    }
}
