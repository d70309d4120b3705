//! An event: one change of an object.

use std::sync::Arc;

use super::stored::Stored;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// A change of an object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The state after the change. For a deletion, the last state with the version of the deletion.
    pub(crate) object: Arc<Stored>,
    /// The state before the change.
    pub(crate) before: Option<Arc<Stored>>,
}
