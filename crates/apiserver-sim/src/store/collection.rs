//! The objects of one resource, with their recent events and watchers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Compacted;
use super::event::Event;
use super::scope::Scope;
use super::stored::Stored;

/// A watcher and its channel.
pub(super) struct Watcher {
    pub(super) scope: Scope,
    pub(super) events: mpsc::Sender<Arc<Event>>,
}

#[derive(Default)]
pub(super) struct Collection {
    pub(super) objects: BTreeMap<String, Arc<Stored>>,
    pub(super) history: VecDeque<Arc<Event>>,
    /// Events up to this version have been compacted.
    pub(super) compacted: u64,
    pub(super) watchers: BTreeMap<u64, Watcher>,
    pub(super) watchers_of_key: HashMap<String, BTreeMap<u64, Watcher>>,
}

impl Collection {
    pub(super) fn publish(&mut self, history: usize, event: Event) {
        let event = Arc::new(event);
        let send = |watchers: &mut BTreeMap<u64, Watcher>| {
            // A watcher that falls too far behind is dropped, as in kube-apiserver.
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
                self.compacted = event.object.version;
            }
        }
    }

    pub(super) fn since(&self, version: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let begin = self
            .history
            .partition_point(|event| event.object.version <= version);
        self.history.iter().skip(begin)
    }

    /// Returns the objects that have changed since a version, in their state at that version.
    pub(super) fn at(
        &self,
        version: u64,
    ) -> Result<BTreeMap<String, Option<Arc<Stored>>>, Compacted> {
        if version < self.compacted {
            return Err(Compacted {
                oldest: self.compacted,
            });
        }
        // The first change after the version has the state before it.
        let changes = self.since(version).rev();
        Ok(changes
            .map(|event| (event.object.key.clone(), event.before.clone()))
            .collect())
    }
}
