//! All objects, one sequence of versions, and what has happened to each kind of late.
//!
//! An object is written as bytes once for each version; lists, watches and reads send these.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::encoding;
use super::selectors::Selector;

/// Events that a watcher may be behind before it is let go.
const MOST_BEHIND: usize = 16_384;

/// One version of one object.
#[derive(Debug)]
pub(super) struct Stored {
    /// `NAME`, or `NAMESPACE/NAME`.
    pub(super) key: String,
    pub(super) version: u64,
    /// JSON without `kind` and `apiVersion`, which its readers may see differently.
    pub(super) body: Bytes,
    labels: BTreeMap<String, String>,
    fields: Vec<(&'static str, String)>,
}

impl Stored {
    fn new(storage: &str, key: &str, version: u64, mut object: Map<String, Value>) -> Stored {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("resourceVersion".into(), version.to_string().into());
        }
        let labels = object
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"))
            .and_then(Value::as_object)
            .map(|labels| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let pair = |(key, value): (&String, &Value)| (key.clone(), text(value));
                labels.iter().map(pair).collect()
            })
            .unwrap_or_default();
        let fields = encoding::selectable_fields(storage, &object);
        Stored {
            key: key.to_owned(),
            version,
            body: Bytes::from(Value::Object(object).to_string()),
            labels,
            fields,
        }
    }

    /// The object, to be changed.
    pub(super) fn object(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The same object with another version.
    pub(super) fn renumbered(&self, storage: &str, version: u64) -> Stored {
        Stored::new(storage, &self.key, version, self.object())
    }

    pub(super) fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    pub(super) fn matches(&self, selector: &Selector) -> bool {
        selector.matches(&self.labels, |field| match field {
            "metadata.name" => self.name(),
            "metadata.namespace" => self.namespace(),
            other => {
                let found = self.fields.iter().find(|(name, _)| *name == other);
                found.map_or("", |(_, value)| value.as_str())
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// What has happened to an object.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) happened: Happened,
    /// The state after it; of a deletion, the last state with the version of the deletion.
    pub(super) object: Arc<Stored>,
    /// The state before it.
    pub(super) before: Option<Arc<Stored>>,
}

/// What a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Empty for all.
    pub(super) namespace: String,
    pub(super) selector: Selector,
}

impl Scope {
    pub(super) fn covers(&self, stored: &Stored) -> bool {
        (self.namespace.is_empty() || stored.namespace() == self.namespace)
            && stored.matches(&self.selector)
    }

    fn concerns(&self, event: &Event) -> bool {
        self.covers(&event.object) || event.before.as_deref().is_some_and(|old| self.covers(old))
    }

    /// The only key that it can be about, if there is one.
    fn key(&self, namespaced: bool) -> Option<String> {
        let name = self.selector.name()?;
        match (namespaced, self.namespace.is_empty()) {
            (false, _) => Some(name.to_owned()),
            (true, false) => Some(format!("{}/{name}", self.namespace)),
            (true, true) => None,
        }
    }
}

/// Whoever watches. Dropping it ends that.
pub(super) struct Subscription {
    pub(super) events: mpsc::Receiver<Arc<Event>>,
    store: Arc<Store>,
    storage: &'static str,
    place: Place,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.store.lock();
        let Some(shelf) = inner.shelves.get_mut(self.storage) else {
            return;
        };
        match &self.place {
            Place::General(id) => {
                shelf.watchers.remove(id);
            }
            Place::OfKey(key, id) => {
                if let Some(watchers) = shelf.watchers_of_key.get_mut(key) {
                    watchers.remove(id);
                    if watchers.is_empty() {
                        shelf.watchers_of_key.remove(key);
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

struct Watcher {
    scope: Scope,
    events: mpsc::Sender<Arc<Event>>,
}

#[derive(Default)]
struct Shelf {
    objects: BTreeMap<String, Arc<Stored>>,
    history: VecDeque<Arc<Event>>,
    /// What happened up to this version is forgotten.
    forgotten: u64,
    watchers: BTreeMap<u64, Watcher>,
    watchers_of_key: HashMap<String, BTreeMap<u64, Watcher>>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    next_watcher: u64,
    shelves: BTreeMap<&'static str, Shelf>,
}

/// What a write rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Absent,
    Version(u64),
}

/// The object is not as it was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clash;

/// What happened since is forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// The oldest version that could be gone on from.
    pub(super) oldest: u64,
}

/// A part of a list.
pub(super) struct Page {
    pub(super) version: u64,
    pub(super) objects: Vec<Arc<Stored>>,
    /// The key to go on after, if there is more.
    pub(super) next: Option<String>,
    /// How many there are after this page, where that is known.
    pub(super) remaining: Option<usize>,
}

/// Where a page begins and ends, and the version that it shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) version: Option<u64>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// With everything that is there now.
    Now,
    /// After this version.
    Version(u64),
}

/// The objects of a cluster.
pub(super) struct Store {
    inner: Mutex<Inner>,
    history: usize,
}

impl Store {
    /// An empty one that remembers this many events of each kind.
    pub(super) fn new(history: usize) -> Store {
        Store {
            inner: Mutex::default(),
            history,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest version.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(super) fn get(&self, storage: &str, key: &str) -> Option<Arc<Stored>> {
        self.lock().shelves.get(storage)?.objects.get(key).cloned()
    }

    /// Writes an object if it is as expected. A write that changes nothing is none.
    pub(super) fn put(
        &self,
        storage: &'static str,
        key: &str,
        expected: Expected,
        object: Map<String, Value>,
    ) -> Result<Arc<Stored>, Clash> {
        let mut inner = self.lock();
        let version = inner.version.saturating_add(1);
        let shelf = inner.shelves.entry(storage).or_default();
        let before = shelf.objects.get(key).cloned();
        let found = before
            .as_ref()
            .map_or(Expected::Absent, |stored| Expected::Version(stored.version));
        if found != expected {
            return Err(Clash);
        }
        if let Some(before) = &before {
            let same = Stored::new(storage, key, before.version, object.clone());
            if same.body == before.body {
                return Ok(Arc::clone(before));
            }
        }
        let stored = Arc::new(Stored::new(storage, key, version, object));
        shelf.objects.insert(key.to_owned(), Arc::clone(&stored));
        let happened = if before.is_some() {
            Happened::Modified
        } else {
            Happened::Added
        };
        let object = Arc::clone(&stored);
        shelf.publish(
            self.history,
            Event {
                happened,
                object,
                before,
            },
        );
        inner.version = version;
        Ok(stored)
    }

    /// Removes an object if it is as expected; `last` is the state that watchers see.
    pub(super) fn remove(
        &self,
        storage: &'static str,
        key: &str,
        expected: u64,
        last: Map<String, Value>,
    ) -> Result<Arc<Stored>, Clash> {
        let mut inner = self.lock();
        let version = inner.version.saturating_add(1);
        let shelf = inner.shelves.entry(storage).or_default();
        let Some(before) = shelf.objects.get(key).cloned() else {
            return Err(Clash);
        };
        if before.version != expected {
            return Err(Clash);
        }
        shelf.objects.remove(key);
        let object = Arc::new(Stored::new(storage, key, version, last));
        let event = Event {
            happened: Happened::Deleted,
            object: Arc::clone(&object),
            before: Some(before),
        };
        shelf.publish(self.history, event);
        inner.version = version;
        Ok(object)
    }

    /// A part of a list, as it was at `cut.version` or is now.
    pub(super) fn list(&self, storage: &str, scope: &Scope, cut: &Cut) -> Result<Page, Forgotten> {
        let inner = self.lock();
        let version = cut.version.unwrap_or(inner.version);
        let mut page = Page {
            version,
            objects: Vec::new(),
            next: None,
            remaining: None,
        };
        let Some(shelf) = inner.shelves.get(storage) else {
            return Ok(page);
        };
        let old = (version < inner.version)
            .then(|| shelf.at(version))
            .transpose()?;
        let prefix = if scope.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", scope.namespace)
        };
        let begin = match &cut.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let now = shelf
            .objects
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix));
        let found: Box<dyn Iterator<Item = Arc<Stored>>> = match old {
            None => Box::new(now.map(|(_, stored)| Arc::clone(stored))),
            Some(changed) => {
                let mut then: BTreeMap<String, Arc<Stored>> = now
                    .map(|(key, stored)| (key.clone(), Arc::clone(stored)))
                    .collect();
                for (key, before) in changed {
                    let in_range = key.starts_with(&prefix)
                        && cut.after.as_ref().is_none_or(|after| key > *after);
                    match before {
                        Some(stored) if in_range => then.insert(key, stored),
                        _ => then.remove(&key),
                    };
                }
                Box::new(then.into_values())
            }
        };
        let mut found = found.filter(|stored| stored.matches(&scope.selector));
        let limit = cut.limit.unwrap_or(usize::MAX);
        page.objects.extend(found.by_ref().take(limit));
        if let Some(last) = page.objects.last().filter(|_| page.objects.len() == limit) {
            let remaining = if scope.selector.is_empty() {
                found.count()
            } else {
                found.take(1).count()
            };
            if remaining > 0 {
                page.next = Some(last.key.clone());
                page.remaining = scope.selector.is_empty().then_some(remaining);
            }
        }
        Ok(page)
    }

    /// Begins a watch; the objects that are there, if they are wanted, and the version they show.
    pub(super) fn watch(
        self: &Arc<Store>,
        storage: &'static str,
        namespaced: bool,
        scope: &Scope,
        from: From,
    ) -> Result<(u64, Vec<Arc<Stored>>, Subscription), Forgotten> {
        let (send, events) = mpsc::channel(MOST_BEHIND);
        let mut inner = self.lock();
        let version = inner.version;
        let id = inner.next_watcher;
        inner.next_watcher = id.saturating_add(1);
        let shelf = inner.shelves.entry(storage).or_default();
        let key = scope.key(namespaced);
        let mut present = Vec::new();
        match from {
            From::Now => {
                let covered = |stored: &&Arc<Stored>| scope.covers(stored);
                match &key {
                    Some(key) => present.extend(shelf.objects.get(key).filter(covered).cloned()),
                    None => present.extend(shelf.objects.values().filter(covered).cloned()),
                }
            }
            From::Version(version) => {
                if version < shelf.forgotten {
                    return Err(Forgotten {
                        oldest: shelf.forgotten,
                    });
                }
                for event in shelf.since(version).filter(|event| scope.concerns(event)) {
                    // More than fits is found out by the watcher, which is let go.
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
                let watchers = shelf.watchers_of_key.entry(key.clone()).or_default();
                watchers.insert(id, watcher);
                Place::OfKey(key, id)
            }
            None => {
                shelf.watchers.insert(id, watcher);
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

    /// Forgets what has happened until now, as a compaction does.
    pub(super) fn forget(&self) {
        let mut inner = self.lock();
        let version = inner.version;
        for shelf in inner.shelves.values_mut() {
            shelf.history.clear();
            shelf.forgotten = version;
        }
    }

    /// Ends every watch.
    pub(super) fn drop_watchers(&self) {
        for shelf in self.lock().shelves.values_mut() {
            shelf.watchers.clear();
            shelf.watchers_of_key.clear();
        }
    }
}

impl Shelf {
    fn publish(&mut self, history: usize, event: Event) {
        let event = Arc::new(event);
        let send = |watchers: &mut BTreeMap<u64, Watcher>| {
            // One that is too far behind is let go, as the original does.
            watchers.retain(|_, watcher| {
                !watcher.scope.concerns(&event)
                    || watcher.events.try_send(Arc::clone(&event)).is_ok()
            });
        };
        send(&mut self.watchers);
        if let Some(watchers) = self.watchers_of_key.get_mut(&event.object.key) {
            send(watchers);
        }
        self.history.push_back(event);
        while self.history.len() > history {
            if let Some(event) = self.history.pop_front() {
                self.forgotten = event.object.version;
            }
        }
    }

    fn since(&self, version: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let begin = self
            .history
            .partition_point(|event| event.object.version <= version);
        self.history.iter().skip(begin)
    }

    /// What has changed since a version, as it was then.
    fn at(&self, version: u64) -> Result<BTreeMap<String, Option<Arc<Stored>>>, Forgotten> {
        if version < self.forgotten {
            return Err(Forgotten {
                oldest: self.forgotten,
            });
        }
        // The first change since then knows what was before.
        let changes = self.since(version).rev();
        Ok(changes
            .map(|event| (event.object.key.clone(), event.before.clone()))
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &str) -> Map<String, Value> {
        let object = json!({"metadata": {"name": "x", "labels": {"v": value}}});
        object.as_object().unwrap().clone()
    }

    fn names(page: &Page) -> Vec<String> {
        page.objects.iter().map(|one| one.key.clone()).collect()
    }

    #[test]
    fn a_list_goes_on_as_it_began() {
        let store = Arc::new(Store::new(100));
        for key in ["a", "b", "c", "d"] {
            store
                .put("nodes", key, Expected::Absent, object("1"))
                .unwrap();
        }
        let mut cut = Cut {
            limit: Some(2),
            ..Cut::default()
        };
        let first = store.list("nodes", &Scope::default(), &cut).unwrap();
        assert_eq!(
            (names(&first), first.remaining),
            (vec!["a".into(), "b".into()], Some(2))
        );
        // Meanwhile one goes, one comes, one changes.
        store.remove("nodes", "c", 3, object("1")).unwrap();
        store
            .put("nodes", "bb", Expected::Absent, object("1"))
            .unwrap();
        store
            .put("nodes", "d", Expected::Version(4), object("2"))
            .unwrap();
        cut.after = first.next;
        cut.version = Some(first.version);
        let second = store.list("nodes", &Scope::default(), &cut).unwrap();
        assert_eq!(
            (names(&second), second.next),
            (vec!["c".into(), "d".into()], None)
        );
        assert_eq!(second.objects.last().unwrap().version, 4);
        store.forget();
        assert!(store.list("nodes", &Scope::default(), &cut).is_err());
    }

    #[test]
    fn a_write_that_changes_nothing_is_none() {
        let store = Arc::new(Store::new(100));
        let first = store
            .put("nodes", "a", Expected::Absent, object("1"))
            .unwrap();
        let again = store
            .put("nodes", "a", Expected::Version(1), object("1"))
            .unwrap();
        assert_eq!((first.version, again.version, store.version()), (1, 1, 1));
        assert_eq!(
            store
                .put("nodes", "a", Expected::Version(9), object("2"))
                .unwrap_err(),
            Clash
        );
    }

    #[test]
    fn a_watch_of_one_name_hears_of_that_alone_and_leaves_nothing() {
        let store = Arc::new(Store::new(100));
        let scope = Scope {
            selector: Selector::parse("", "metadata.name=b").unwrap(),
            ..Scope::default()
        };
        let (_, present, mut subscription) =
            store.watch("nodes", false, &scope, From::Now).unwrap();
        assert!(present.is_empty());
        for key in ["a", "b"] {
            store
                .put("nodes", key, Expected::Absent, object("1"))
                .unwrap();
        }
        let event = subscription.events.try_recv().unwrap();
        assert_eq!(
            (event.happened, event.object.name()),
            (Happened::Added, "b")
        );
        assert!(subscription.events.try_recv().is_err());
        drop(subscription);
        assert!(
            store
                .lock()
                .shelves
                .get("nodes")
                .unwrap()
                .watchers_of_key
                .is_empty()
        );
    }
}
