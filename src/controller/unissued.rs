//! Requests approved here that have no certificate yet, by requestor.
//!
//! kube-controller-manager signs about 20 a second, in the order of approval. A kubelet that asks as fast
//! as it can would fill that queue, so a requestor has only a few places in it.

use std::collections::BTreeMap;

use judge::csr::{Uid, Username};

/// The approved requests without a certificate.
#[derive(Debug)]
pub(super) struct Unissued {
    max_per_requestor: usize,
    requestors: BTreeMap<Uid, Username>,
    counts: BTreeMap<Username, usize>,
}

impl Unissued {
    /// No requests. A requestor has at most this many.
    pub(super) fn new(max_per_requestor: usize) -> Unissued {
        Unissued {
            max_per_requestor,
            requestors: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Adds a request that was approved.
    pub(super) fn add(&mut self, uid: &Uid, requestor: &Username) {
        let before = self.requestors.insert(uid.clone(), requestor.clone());
        if before.is_none() {
            *self.counts.entry(requestor.clone()).or_default() += 1;
        }
    }

    /// Removes a request. Returns true if it was there.
    pub(super) fn remove(&mut self, uid: &Uid) -> bool {
        let Some(requestor) = self.requestors.remove(uid) else {
            return false;
        };
        if let Some(count) = self.counts.get_mut(&requestor) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&requestor);
            }
        }
        true
    }

    /// Returns true if it has this request.
    pub(super) fn contains(&self, uid: &Uid) -> bool {
        self.requestors.contains_key(uid)
    }

    /// The number of requests.
    pub(super) fn len(&self) -> usize {
        self.requestors.len()
    }

    /// Returns true if no further request of this requestor may be approved now.
    pub(super) fn is_full(&self, requestor: &Username) -> bool {
        let count = self.counts.get(requestor).copied().unwrap_or_default();
        count >= self.max_per_requestor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requestor_has_few_places() {
        let (a, b): (Username, Username) = ("a".into(), "b".into());
        let mut unissued = Unissued::new(3);
        for index in 0..3 {
            assert!(!unissued.is_full(&a));
            let uid: Uid = format!("uid-{index}").as_str().into();
            unissued.add(&uid, &a);
            unissued.add(&uid, &a);
        }
        assert!(unissued.is_full(&a) && !unissued.is_full(&b));
        let first: Uid = "uid-0".into();
        assert!(unissued.contains(&first) && unissued.remove(&first) && !unissued.remove(&first));
        assert!(!unissued.is_full(&a));
        assert_eq!(unissued.len(), 2);
    }
}
