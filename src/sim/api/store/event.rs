//! One change of an object, as watches see it.

use std::sync::Arc;

use super::stored::Stored;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim::api) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// A change of an object.
#[derive(Debug)]
pub(in crate::sim::api) struct Event {
    pub(in crate::sim::api) happened: Happened,
    /// The state after it; of a deletion, the last state with the version of the deletion.
    pub(in crate::sim::api) object: Arc<Stored>,
    /// The state before it.
    pub(in crate::sim::api) before: Option<Arc<Stored>>,
}
