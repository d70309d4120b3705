//! Open requests: not decided yet, with a limit for each requestor and one for their memory.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use jiff::Timestamp;
use tokio::time::Instant;

use super::packed_request::{PackedRequest, Packer};
use super::request_memory::{MEMORY_OF_ALL_REQUESTS, RequestMemory, of_awaited, of_decoded};
use super::timeline::Timeline;
use crate::cluster::clock::Now;
use judge::Decision;
use judge::csr::{CsrObject, Fingerprint, FirstSeen, Request};
use judge::csr::{Uid, Username};
use judge::finding::{Awaited, Code};

/// Limit of open requests of one requestor. A kubelet waits for its newest one only.
pub(super) const MOST_OF_ONE_REQUESTOR: usize = 32;

/// A request, packed until it is judged for the first time.
#[derive(Debug)]
pub(super) enum OpenRequest {
    /// Not decoded yet: decoding is work that waits for its turn.
    Packed(Box<PackedRequest>),
    /// Decoded.
    Read(Box<Request>),
}

impl OpenRequest {
    /// `spec.username`.
    pub(super) fn username(&self) -> &Username {
        match self {
            OpenRequest::Packed(packed) => packed.username(),
            OpenRequest::Read(request) => &request.object.requestor.username,
        }
    }

    /// `metadata.creationTimestamp`.
    pub(super) fn created(&self) -> Timestamp {
        match self {
            OpenRequest::Packed(packed) => packed.created(),
            OpenRequest::Read(request) => request.object.created,
        }
    }

    /// `metadata.resourceVersion`.
    pub(super) fn resource_version(&self) -> &str {
        match self {
            OpenRequest::Packed(packed) => packed.resource_version(),
            OpenRequest::Read(request) => &request.object.resource_version,
        }
    }
}

/// A verdict and its codes.
pub(super) type RecordedVerdict = (Decision, Vec<Code>);

/// One open request.
#[derive(Debug)]
pub(super) struct Entry {
    /// The request.
    pub(super) request: OpenRequest,
    /// Time at which it was first seen.
    pub(super) seen: Instant,
    /// The monotonic time at which it was first seen.
    pub(super) seen_at: Timestamp,
    /// Its resourceVersion at that time, if that is a number.
    first_version: Option<NonZeroU64>,
    /// True if the watch showed its creation at that time.
    pub(super) is_creation: bool,
    /// The last recorded verdict, to log each only once.
    recorded: Option<Box<RecordedVerdict>>,
    /// Failed writes in a row.
    pub(super) failures: u32,
    /// True if its denial was deferred.
    is_deferred: bool,
    /// Estimated memory, in bytes.
    size: usize,
}

impl Entry {
    /// The last recorded decision of a request whose next judgment waits for nothing but a change.
    #[cfg(test)]
    pub(super) fn settled_decision(&self) -> Option<Decision> {
        let (decision, _) = self.recorded.as_deref()?;
        (self.failures == 0 && !self.is_deferred).then_some(*decision)
    }

    /// The event that first showed it.
    fn first_seen(&self) -> Option<FirstSeen> {
        Some(FirstSeen {
            at: self.seen_at,
            resource_version: self.first_version?,
            is_creation: self.is_creation,
        })
    }
}

/// All open requests. The maps are trees: a hash map doubles when it is full, and holds both copies
/// for a moment.
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    entries: BTreeMap<Uid, Entry>,
    by_requestor: BTreeMap<Username, Timeline>,
    memory: RequestMemory,
    packer: Packer,
    /// Number of waiting requests by the first code of each.
    waiting: BTreeMap<Code, usize>,
}

impl OpenRequests {
    /// Adds or updates a request. `is_listed`: a list has shown it, not the running watch. Returns the
    /// request that has to be dropped because of the limit, if any: it may be this one.
    pub(super) fn put(
        &mut self,
        object: CsrObject,
        encoded: &[u8],
        is_listed: bool,
        now: Now,
    ) -> Option<Uid> {
        let uid = object.uid.clone();
        let requestor = object.requestor.username.clone();
        let created = object.created;
        let first_version = object.resource_version.parse().ok();
        // An update can have added fields that a kubelet's request does not have.
        let is_creation = !is_listed && !object.preserved.has_more;
        let packed = self.packer.pack(object, encoded);
        let size = packed.size();
        let request = OpenRequest::Packed(Box::new(packed));
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.request = request;
            self.resize(&uid, size);
            return None;
        }
        self.memory.replace(&requestor, 0, size);
        let entry = Entry {
            request,
            seen: now.instant,
            seen_at: now.monotonic,
            first_version,
            is_creation,
            recorded: None,
            failures: 0,
            is_deferred: false,
            size,
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

    /// The request of this UID, decoded.
    pub(super) fn request(&mut self, uid: &Uid) -> Option<&Request> {
        let entry = self.entries.get_mut(uid)?;
        if let OpenRequest::Packed(packed) = &entry.request {
            let read = Request::read_packed(packed.object(), packed.encoded());
            let read = read.with_first_seen(entry.first_seen());
            let size = of_decoded(&read);
            entry.request = OpenRequest::Read(Box::new(read));
            self.resize(uid, size);
        }
        match &self.entries.get(uid)?.request {
            OpenRequest::Read(request) => Some(request),
            OpenRequest::Packed(..) => None,
        }
    }

    /// Fingerprint of the requested key, if the request was decoded and could be.
    pub(super) fn key(&self, uid: &Uid) -> Option<Fingerprint> {
        match &self.entries.get(uid)?.request {
            OpenRequest::Read(request) => request.content.as_ref().map(|content| content.key),
            OpenRequest::Packed(..) => None,
        }
    }

    /// All requests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.entries.iter()
    }

    /// The largest number of requests of one requestor, and the memory of all.
    #[cfg(test)]
    pub(super) fn extent(&self) -> (usize, usize) {
        let most = self.by_requestor.values().map(Timeline::len).max();
        (most.unwrap_or_default(), self.memory.total())
    }

    /// The request of this UID, mutable.
    pub(super) fn get_mut(&mut self, uid: &Uid) -> Option<&mut Entry> {
        self.entries.get_mut(uid)
    }

    /// Removes a request.
    pub(super) fn remove(&mut self, uid: &Uid) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        let requestor = entry.request.username();
        if let Some(of_requestor) = self.by_requestor.get_mut(requestor) {
            of_requestor.remove(entry.request.created(), uid);
            if of_requestor.is_empty() {
                self.by_requestor.remove(requestor);
            }
        }
        self.memory.replace(requestor, entry.size, 0);
        self.count(&entry.recorded, false);
        Some(entry)
    }

    /// Adds the memory of what a decoded request awaits.
    pub(super) fn awaits(&mut self, uid: &Uid, awaits: &[Awaited]) {
        let entry = self.entries.get(uid).map(|entry| &entry.request);
        if let Some(OpenRequest::Read(request)) = entry {
            self.resize(uid, of_decoded(request) + of_awaited(awaits));
        }
    }

    fn resize(&mut self, uid: &Uid, size: usize) {
        if let Some(entry) = self.entries.get_mut(uid) {
            self.memory
                .replace(entry.request.username(), entry.size, size);
            entry.size = size;
        }
    }

    /// The request to drop while all of them take too much memory: the oldest of the largest requestor,
    /// except one that is kept.
    pub(super) fn over_budget(&self, is_kept: impl Fn(&Uid) -> bool) -> Option<Uid> {
        if self.memory.total() <= MEMORY_OF_ALL_REQUESTS {
            return None;
        }
        let of = |requestor| {
            let mut uids = self.by_requestor.get(requestor)?.oldest_first();
            uids.find(|uid| !is_kept(uid))
        };
        self.memory.largest_first().find_map(of).cloned()
    }

    /// True if half of the memory for all requests is free.
    pub(super) fn has_room(&self) -> bool {
        self.memory.total() <= MEMORY_OF_ALL_REQUESTS / 2
    }

    /// Records that the denial of a request is deferred. Returns true if it was not before.
    pub(super) fn defer(&mut self, uid: &Uid) -> bool {
        let entry = self.entries.get_mut(uid);
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.is_deferred, true))
    }

    /// Records the verdict of a request. Returns true if it differs from the last one.
    pub(super) fn record_verdict(
        &mut self,
        uid: &Uid,
        decision: Decision,
        codes: Vec<Code>,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(uid) else {
            return true;
        };
        let found = Some(Box::new((decision, codes)));
        if entry.recorded == found {
            return false;
        }
        let before = std::mem::replace(&mut entry.recorded, found.clone());
        self.count(&before, false);
        self.count(&found, true);
        true
    }

    /// Number of waiting requests by the first code of each.
    pub(super) fn waiting(&self) -> &BTreeMap<Code, usize> {
        &self.waiting
    }

    /// Creation time of the oldest open request.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let firsts = self.by_requestor.values().filter_map(Timeline::oldest);
        firsts.map(|(created, _)| *created).min()
    }

    /// The oldest request of each requestor, if it was created before `limit`.
    pub(super) fn oldest_before(&self, limit: Timestamp) -> impl Iterator<Item = &Uid> {
        let firsts = self.by_requestor.values().filter_map(Timeline::oldest);
        firsts
            .filter(move |(created, _)| *created < limit)
            .map(|(_, uid)| uid)
    }

    fn count(&mut self, recorded: &Option<Box<RecordedVerdict>>, add: bool) {
        if let Some((Decision::Wait, codes)) = recorded.as_deref()
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
