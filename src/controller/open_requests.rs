//! The open requests that are known, with a limit for each requestor.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Instant;

use jiff::Timestamp;

use super::judged::Now;
use super::packed::{Packer, Unread};
use super::timeline::Timeline;
use judge::Decision;
use judge::csr::{Fingerprint, FirstSeen, Object, Request};
use judge::csr::{Uid, Username};
use judge::finding::Code;

/// Open requests that are kept for one requestor. A kubelet waits for its newest one only.
pub(super) const MOST_OF_ONE_REQUESTOR: usize = 32;

/// What is known of a request.
#[derive(Debug)]
pub(super) enum Reading {
    /// Its bytes have not been looked at: that is work, and is done when it has its turn.
    Unread(Box<Unread>),
    /// It has been read.
    Read(Box<Request>),
}

impl Reading {
    /// Who asks.
    pub(super) fn username(&self) -> &Username {
        match self {
            Reading::Unread(unread) => unread.username(),
            Reading::Read(request) => &request.object.requestor.username,
        }
    }

    /// When it was created.
    pub(super) fn created(&self) -> Timestamp {
        match self {
            Reading::Unread(unread) => unread.created(),
            Reading::Read(request) => request.object.created,
        }
    }

    /// Which state of it this is.
    pub(super) fn resource_version(&self) -> &str {
        match self {
            Reading::Unread(unread) => unread.resource_version(),
            Reading::Read(request) => &request.object.resource_version,
        }
    }
}

/// What is said of a request.
pub(super) type Said = (Decision, Vec<Code>);

/// One open request.
#[derive(Debug)]
pub(super) struct Entry {
    /// The request.
    pub(super) reading: Reading,
    /// When it was first seen.
    pub(super) seen: Instant,
    /// Its resourceVersion then, if that is a number.
    first_version: Option<NonZeroU64>,
    /// Whether the watch showed its creation then.
    is_creation: bool,
    /// What was last said of it, to say it only once.
    pub(super) said: Option<Box<Said>>,
    /// Failed writes in a row.
    pub(super) failures: u32,
}

impl Entry {
    /// The event that first showed it.
    fn first_seen(&self, now: Now) -> Option<FirstSeen> {
        Some(FirstSeen {
            at: now.steady_at(self.seen),
            resource_version: self.first_version?,
            is_creation: self.is_creation,
        })
    }
}

/// All open requests. The maps are trees: one of hashes doubles when it is full, and holds both
/// halves meanwhile.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<Uid, Entry>,
    by_requestor: BTreeMap<Username, Timeline>,
    packer: Packer,
    /// How many wait because of which code.
    waiting: BTreeMap<Code, usize>,
}

impl Book {
    /// Adds a request or its new state. `is_listed` says that a list shows it, not the running
    /// watch. Returns the request that had to make room, if any: it may be this one.
    pub(super) fn put(
        &mut self,
        object: Object,
        encoded: &[u8],
        is_listed: bool,
        now: Instant,
    ) -> Option<Uid> {
        let uid = object.uid.clone();
        let requestor = object.requestor.username.clone();
        let created = object.created;
        let first_version = object.resource_version.parse().ok();
        // What a kubelet's request does not have can have been added by an update.
        let is_creation = !is_listed && !object.kept.has_more;
        let reading = Reading::Unread(Box::new(self.packer.pack(object, encoded)));
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.reading = reading;
            return None;
        }
        let entry = Entry {
            reading,
            seen: now,
            first_version,
            is_creation,
            said: None,
            failures: 0,
        };
        self.entries.insert(uid.clone(), entry);
        let of_requestor = self.by_requestor.entry(requestor).or_default();
        of_requestor.insert(created, &uid);
        (of_requestor.len() > MOST_OF_ONE_REQUESTOR)
            .then(|| of_requestor.oldest().map(|(_, oldest)| oldest.clone()))
            .flatten()
    }

    /// The request of this UID.
    pub(super) fn get(&self, uid: &Uid) -> Option<&Entry> {
        self.entries.get(uid)
    }

    /// The request of this UID, its bytes read now if they were not before.
    pub(super) fn request(&mut self, uid: &Uid, now: Now) -> Option<&Request> {
        let entry = self.entries.get_mut(uid)?;
        if let Reading::Unread(unread) = &entry.reading {
            let request = Request::read_late(unread.object(), unread.encoded());
            let request = request.with_first_seen(entry.first_seen(now));
            entry.reading = Reading::Read(Box::new(request));
        }
        match &entry.reading {
            Reading::Read(request) => Some(request),
            Reading::Unread(..) => None,
        }
    }

    /// The key of the request of this UID, if its bytes have been read and could be.
    pub(super) fn key(&self, uid: &Uid) -> Option<Fingerprint> {
        match &self.entries.get(uid)?.reading {
            Reading::Read(request) => request.content.as_ref().map(|content| content.key),
            Reading::Unread(..) => None,
        }
    }

    /// The request of this UID, to be changed.
    pub(super) fn get_mut(&mut self, uid: &Uid) -> Option<&mut Entry> {
        self.entries.get_mut(uid)
    }

    /// Removes a request.
    pub(super) fn remove(&mut self, uid: &Uid) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        let requestor = entry.reading.username();
        if let Some(of_requestor) = self.by_requestor.get_mut(requestor) {
            of_requestor.remove(entry.reading.created(), uid);
            if of_requestor.is_empty() {
                self.by_requestor.remove(requestor);
            }
        }
        self.count(&entry.said, false);
        Some(entry)
    }

    /// Notes what is said of a request. Returns whether that is news.
    pub(super) fn say(&mut self, uid: &Uid, decision: Decision, codes: Vec<Code>) -> bool {
        let Some(entry) = self.entries.get_mut(uid) else {
            return true;
        };
        let said = Some(Box::new((decision, codes)));
        if entry.said == said {
            return false;
        }
        let before = std::mem::replace(&mut entry.said, said.clone());
        self.count(&before, false);
        self.count(&said, true);
        true
    }

    /// How many requests wait, by the first code of each.
    pub(super) fn waiting(&self) -> &BTreeMap<Code, usize> {
        &self.waiting
    }

    /// The creation of the oldest open request.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let firsts = self.by_requestor.values().filter_map(Timeline::oldest);
        firsts.map(|(created, _)| *created).min()
    }

    /// Of each requestor the oldest request, if it was created before this.
    pub(super) fn oldest_before(&self, limit: Timestamp) -> impl Iterator<Item = &Uid> {
        let firsts = self.by_requestor.values().filter_map(Timeline::oldest);
        firsts
            .filter(move |(created, _)| *created < limit)
            .map(|(_, uid)| uid)
    }

    /// The UIDs of all open requests.
    pub(super) fn uids(&self) -> impl Iterator<Item = &Uid> {
        self.entries.keys()
    }

    fn count(&mut self, said: &Option<Box<Said>>, add: bool) {
        if let Some((Decision::Wait, codes)) = said.as_deref()
            && let Some(code) = codes.first()
        {
            let count = self.waiting.entry(*code).or_default();
            *count = if add {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
    }
}
