//! Who may write and who has written: all updates of Leases and of approvals, in their order.

use std::sync::{Arc, Mutex, PoisonError};

use super::authn::User;
use super::object::text;
use super::request_info::ResourcePath;
use super::store::Stored;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A Lease, as `NAMESPACE/NAME`, which has this holder from now on; nobody if it is empty.
    Lease {
        /// Which.
        key: String,
        /// Who holds it.
        holder: String,
    },
    /// The conditions of the request of this name.
    Approval(String),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The version that it made: entries are in the order of these.
    pub version: u64,
    /// Whose credential it was sent with.
    pub by: Arc<User>,
    /// What it was.
    pub kind: WriteKind,
}

/// The entries so far.
#[derive(Default)]
pub(super) struct WriteLog(Mutex<Vec<Entry>>);

impl WriteLog {
    /// Records a user's write to a resource, if it is one of those that matter.
    pub(super) fn record(&self, user: &Arc<User>, path: &ResourcePath, stored: &Stored) {
        let kind = match (path.resource.plural, path.subresource.as_str()) {
            ("leases", "") => WriteKind::Lease {
                key: stored.key.clone(),
                holder: text(&stored.object(), &["spec", "holderIdentity"]).to_owned(),
            },
            ("certificatesigningrequests", "approval") => WriteKind::Approval(stored.key.clone()),
            _ => return,
        };
        let entry = Entry {
            version: stored.version,
            by: Arc::clone(user),
            kind,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }

    /// All of them, in the order in which they took effect.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Two writes at the same time are taken down in any order.
        all.sort_by_key(|entry| entry.version);
        // A write that changes nothing is none.
        all.dedup_by_key(|entry| entry.version);
        all
    }
}
