//! Requests of one requestor, ordered by creation.

use jiff::Timestamp;
use smallvec::SmallVec;

use judge::csr::Uid;

/// Requests, the oldest first. A requestor with one request, as kubelets are, allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Timeline(SmallVec<[(Timestamp, Uid); 1]>);

impl Timeline {
    /// Adds a request; nothing happens if it is there already.
    pub(super) fn insert(&mut self, created: Timestamp, uid: &Uid) {
        if let Err(place) = self.find(created, uid) {
            self.0.insert(place, (created, uid.clone()));
        }
    }

    /// Removes a request, if it is there.
    pub(super) fn remove(&mut self, created: Timestamp, uid: &Uid) {
        if let Ok(place) = self.find(created, uid) {
            self.0.remove(place);
        }
    }

    /// The oldest request, with its creation time.
    pub(super) fn oldest(&self) -> Option<&(Timestamp, Uid)> {
        self.0.first()
    }

    /// All requests, the oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Uid> {
        self.0.iter().map(|(_, uid)| uid)
    }

    /// Removes and returns the newest request.
    pub(super) fn take_newest(&mut self) -> Option<Uid> {
        self.0.pop().map(|(_, uid)| uid)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, created: Timestamp, uid: &Uid) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(at, other)| at.cmp(&created).then_with(|| other.cmp(uid)))
    }
}
