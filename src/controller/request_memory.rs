//! Memory of open requests, with one budget for all of them. An attacker decides how large its requests
//! are, and how many it makes.

use std::collections::{BTreeMap, BTreeSet};

use judge::csr::names::San;
use judge::csr::{Request, Username};
use judge::evidence::Claimed;
use judge::finding::{Awaited, Question};

/// Limit of the memory of all open requests, in bytes. Those of 15,000 kubelets that ask at once take
/// 18 MiB.
pub(super) const MEMORY_OF_ALL_REQUESTS: usize = 24 * 1024 * 1024;
/// Places of one request in the queue and in all indexes, and its parts of constant size.
const OF_EACH_REQUEST: usize = 640;
/// An allocation and its header.
const OF_EACH_ALLOCATION: usize = 32;

/// Estimated memory of a packed request, in bytes.
pub(super) fn of_packed(texts: usize, encoded: usize) -> usize {
    OF_EACH_REQUEST + texts + encoded
}

/// Estimated memory of a decoded request, in bytes.
pub(super) fn of_decoded(request: &Request) -> usize {
    let sans = request.content.iter().flat_map(|content| &content.sans);
    let sans = sans.map(|san| {
        let text = match san {
            San::Dns(name) => name.as_str().len() + OF_EACH_ALLOCATION,
            San::Ip(_) => 0,
        };
        size_of::<San>() + text
    });
    let findings = request.findings.iter();
    let findings = findings.map(|finding| size_of_val(finding) + finding.detail.len());
    let object = &request.object;
    let ids = object.requestor.credential_ids.iter();
    OF_EACH_REQUEST
        + object.name.len()
        + ids.map(|id| id.len() + OF_EACH_ALLOCATION).sum::<usize>()
        + sans.sum::<usize>()
        + findings.sum::<usize>()
}

/// Estimated memory of what a request awaits, in bytes: each has two entries in indexes.
pub(super) fn of_awaited(awaits: &[Awaited]) -> usize {
    let of = |awaited: &Awaited| {
        let text = match awaited {
            Awaited::Answer(Question::Addresses(name)) => name.len(),
            Awaited::Claim(Claimed::San(San::Dns(name))) => name.as_str().len(),
            Awaited::Claim(Claimed::ProviderId(id)) => id.len(),
            Awaited::Claim(Claimed::San(San::Ip(_)) | Claimed::PodNetwork(_))
            | Awaited::Node(_)
            | Awaited::Machine(_)
            | Awaited::Answer(Question::Names(_) | Question::Certificate(_))
            | Awaited::Source(_)
            | Awaited::Time(_)
            | Awaited::ProtectedIdentities
            | Awaited::Policy => 0,
        };
        text + 4 * size_of::<Awaited>()
    };
    awaits.iter().map(of).sum()
}

/// The memory of all open requests, by requestor.
#[derive(Debug, Default)]
pub(super) struct RequestMemory {
    total: usize,
    by_requestor: BTreeMap<Username, usize>,
    by_size: BTreeSet<(usize, Username)>,
}

impl RequestMemory {
    /// Replaces the size of one request of this requestor; zero if it is new or gone.
    pub(super) fn replace(&mut self, requestor: &Username, before: usize, after: usize) {
        let known = self.by_requestor.remove_entry(requestor);
        let (name, size) = known.unwrap_or_else(|| (requestor.clone(), 0));
        self.by_size.remove(&(size, name.clone()));
        self.total = self.total.saturating_sub(before) + after;
        let size = size.saturating_sub(before) + after;
        if size > 0 {
            self.by_size.insert((size, name.clone()));
            self.by_requestor.insert(name, size);
        }
    }

    /// The memory of all requests, in bytes.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The requestors, the largest first.
    pub(super) fn largest_first(&self) -> impl Iterator<Item = &Username> {
        self.by_size.iter().rev().map(|(_, requestor)| requestor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_requestor_is_first() {
        let mut memory = RequestMemory::default();
        let (a, b): (Username, Username) = ("a".into(), "b".into());
        memory.replace(&a, 0, 10);
        memory.replace(&b, 0, 15);
        memory.replace(&a, 0, 10);
        assert_eq!(
            (memory.total(), memory.largest_first().next()),
            (35, Some(&a))
        );
        memory.replace(&a, 10, 3);
        assert_eq!(
            (memory.total(), memory.largest_first().next()),
            (28, Some(&b))
        );
        memory.replace(&a, 10, 0);
        memory.replace(&a, 3, 0);
        memory.replace(&b, 15, 0);
        assert_eq!((memory.total(), memory.largest_first().next()), (0, None));
        assert!(memory.by_requestor.is_empty() && memory.by_size.is_empty());
    }
}
