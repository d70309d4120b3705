//! The requests of one requestor in the order of their creation.

use jiff::Timestamp;
use smallvec::SmallVec;

use judge::csr::Uid;

/// The oldest first. A requestor with one request, as kubelets are, takes no memory beside this.
#[derive(Debug, Default)]
pub(super) struct Timeline(SmallVec<[(Timestamp, Uid); 1]>);

impl Timeline {
    /// Adds a request; nothing happens if it is there already.
    pub(super) fn insert(&mut self, created: Timestamp, uid: &Uid) {
        if let Err(place) = self.find(created, uid) {
            self.0.insert(place, (created, uid.clone()));
        }
    }

    /// Takes a request out, if it is there.
    pub(super) fn remove(&mut self, created: Timestamp, uid: &Uid) {
        if let Ok(place) = self.find(created, uid) {
            self.0.remove(place);
        }
    }

    /// The oldest, and when it was created.
    pub(super) fn oldest(&self) -> Option<&(Timestamp, Uid)> {
        self.0.first()
    }

    /// Takes the newest out.
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
