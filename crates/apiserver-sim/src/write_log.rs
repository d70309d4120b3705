//! A log of all writes of Leases and of approvals, with the user of each.

use std::sync::{Arc, Mutex, PoisonError};

use super::authn::User;
use super::object::text;
use super::request_info::ResourcePath;
use super::store::Stored;

/// The object of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A Lease with its holder after the write. The holder is empty if the Lease is released.
    Lease {
        /// `NAMESPACE/NAME` of the Lease.
        key: String,
        /// The holder.
        holder: String,
    },
    /// The conditions of the request with this name.
    Approval(String),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The resourceVersion after the write. Entries are sorted by it.
    pub version: u64,
    /// The user that sent it.
    pub by: Arc<User>,
    /// The object of the write.
    pub kind: WriteKind,
}

/// The logged writes.
#[derive(Default)]
pub(super) struct WriteLog(Mutex<Vec<Entry>>);

impl WriteLog {
    /// Records the write of a Lease or an approval. Other writes are ignored.
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

    /// Returns all entries, in the order in which they took effect.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Concurrent writes are recorded in any order.
        all.sort_by_key(|entry| entry.version);
        // A write without a change is no write.
        all.dedup_by_key(|entry| entry.version);
        all
    }
}
