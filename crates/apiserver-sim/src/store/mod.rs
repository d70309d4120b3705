//! The object store: all objects, one sequence of versions, and the recent events of each resource.
//!
//! Each version of an object is encoded once. Lists, watches and reads send these bytes.

mod collection;
mod event;
mod lists;
mod scope;
mod stored;
#[cfg(test)]
mod tests;
mod watches;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use self::collection::Collection;
pub(super) use self::event::{Event, EventKind};
pub(super) use self::lists::{Page, PageRequest};
pub(super) use self::scope::Scope;
pub(super) use self::stored::Stored;
pub(super) use self::watches::{From, Subscription};

#[derive(Default)]
struct Inner {
    version: u64,
    next_watcher: u64,
    collections: BTreeMap<&'static str, Collection>,
}

/// The precondition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Absent,
    Version(u64),
}

/// The precondition of a write does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

/// The requested version has been compacted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The oldest version that can be requested.
    pub(super) oldest: u64,
}

/// The objects of a cluster.
pub(super) struct Store {
    inner: Mutex<Inner>,
    history: usize,
}

impl Store {
    /// Creates an empty store that keeps this many events of each resource.
    pub(super) fn new(history: usize) -> Store {
        Store {
            inner: Mutex::default(),
            history,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current version.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(super) fn get(&self, storage: &str, key: &str) -> Option<Arc<Stored>> {
        self.lock()
            .collections
            .get(storage)?
            .objects
            .get(key)
            .cloned()
    }

    /// Writes an object if the precondition holds. A write without a change keeps the version.
    pub(super) fn put(
        &self,
        storage: &'static str,
        key: &str,
        expected: Expected,
        object: Map<String, Value>,
    ) -> Result<Arc<Stored>, Conflict> {
        let mut inner = self.lock();
        let version = inner.version.saturating_add(1);
        let collection = inner.collections.entry(storage).or_default();
        let before = collection.objects.get(key).cloned();
        let found = before
            .as_ref()
            .map_or(Expected::Absent, |stored| Expected::Version(stored.version));
        if found != expected {
            return Err(Conflict);
        }
        if let Some(before) = &before {
            let same = Stored::new(storage, key, before.version, object.clone());
            if same.body == before.body {
                return Ok(Arc::clone(before));
            }
        }
        let stored = Arc::new(Stored::new(storage, key, version, object));
        collection
            .objects
            .insert(key.to_owned(), Arc::clone(&stored));
        let kind = if before.is_some() {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        let object = Arc::clone(&stored);
        collection.publish(
            self.history,
            Event {
                kind,
                object,
                before,
            },
        );
        inner.version = version;
        Ok(stored)
    }

    /// Removes an object if the precondition holds. `last` is the state that watchers see.
    pub(super) fn remove(
        &self,
        storage: &'static str,
        key: &str,
        expected: u64,
        last: Map<String, Value>,
    ) -> Result<Arc<Stored>, Conflict> {
        let mut inner = self.lock();
        let version = inner.version.saturating_add(1);
        let collection = inner.collections.entry(storage).or_default();
        let Some(before) = collection.objects.get(key).cloned() else {
            return Err(Conflict);
        };
        if before.version != expected {
            return Err(Conflict);
        }
        collection.objects.remove(key);
        let object = Arc::new(Stored::new(storage, key, version, last));
        let event = Event {
            kind: EventKind::Deleted,
            object: Arc::clone(&object),
            before: Some(before),
        };
        collection.publish(self.history, event);
        inner.version = version;
        Ok(object)
    }

    /// Compacts all events up to the current version.
    pub(super) fn compact(&self) {
        let mut inner = self.lock();
        let version = inner.version;
        for collection in inner.collections.values_mut() {
            collection.history.clear();
            collection.compacted = version;
        }
    }

    /// Ends every watch.
    pub(super) fn drop_watchers(&self) {
        for collection in self.lock().collections.values_mut() {
            collection.watchers.clear();
            collection.watchers_of_key.clear();
        }
    }
}
