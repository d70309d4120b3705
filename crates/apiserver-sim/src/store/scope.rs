//! The scope of a list or a watch.

use super::super::selectors::Selector;
use super::event::Event;
use super::stored::Stored;

/// A namespace and a selector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Empty for all namespaces.
    pub(crate) namespace: String,
    pub(crate) selector: Selector,
}

impl Scope {
    pub(crate) fn covers(&self, stored: &Stored) -> bool {
        (self.namespace.is_empty() || stored.namespace() == self.namespace)
            && stored.matches(&self.selector)
    }

    pub(super) fn concerns(&self, event: &Event) -> bool {
        self.covers(&event.object) || event.before.as_deref().is_some_and(|old| self.covers(old))
    }

    /// Returns the key, if the scope has only one.
    pub(super) fn key(&self, namespaced: bool) -> Option<String> {
        let name = self.selector.name()?;
        match (namespaced, self.namespace.is_empty()) {
            (false, _) => Some(name.to_owned()),
            (true, false) => Some(format!("{}/{name}", self.namespace)),
            (true, true) => None,
        }
    }
}
