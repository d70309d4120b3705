//! Keys of the objects that a watch knows, to find those that a fresh list lacks.

use std::collections::BTreeMap;

/// Keys of the known objects, to find those that a fresh list lacks.
#[derive(Debug)]
pub struct Relist<K> {
    /// For each key, true if the current list contains it.
    known: BTreeMap<K, bool>,
    is_listing: bool,
    /// The last resourceVersion of the last watch. A list must not be older: it would end what is there.
    pub(super) newest: Option<String>,
}

impl<K> Default for Relist<K> {
    fn default() -> Relist<K> {
        Relist {
            known: BTreeMap::new(),
            is_listing: false,
            newest: None,
        }
    }
}

impl<K: Ord> Relist<K> {
    /// Starts a list.
    pub(super) fn begin(&mut self) {
        self.is_listing = true;
        for listed in self.known.values_mut() {
            *listed = false;
        }
    }

    /// Records an object. Returns true while a list is being read.
    pub(super) fn applied(&mut self, key: K) -> bool {
        // An existing key stays: evidence shares the text of the first one while the object is unchanged.
        self.known.insert(key, true);
        self.is_listing
    }

    /// Removes a deleted object.
    pub(super) fn deleted(&mut self, key: &K) {
        self.known.remove(key);
    }

    /// Ends the list. Returns the keys that it lacks.
    pub(super) fn end(&mut self) -> Vec<K> {
        self.is_listing = false;
        let gone = self.known.extract_if(.., |_, listed| !*listed);
        gone.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_missing_from_a_fresh_list_are_deleted() {
        let mut relist = Relist::default();
        relist.begin();
        assert!(relist.applied("a") && relist.applied("b"));
        assert!(relist.end().is_empty());
        assert!(!relist.applied("c") && !relist.applied("d"));
        relist.deleted(&"d");
        // An interrupted list deletes nothing.
        relist.begin();
        relist.applied("a");
        relist.begin();
        assert!(relist.applied("b") && relist.applied("e"));
        assert_eq!(relist.end(), ["a", "c"]);
        relist.begin();
        assert_eq!(relist.end(), ["b", "e"]);
    }
}
