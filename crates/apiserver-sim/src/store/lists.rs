//! Paginated lists, at the current or an older version.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::scope::Scope;
use super::stored::Stored;
use super::{Compacted, Store};

/// One page of a list.
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) objects: Vec<Arc<Stored>>,
    /// The key after which the next page starts. `None` for the last page.
    pub(crate) next: Option<String>,
    /// The number of remaining objects, if it is known.
    pub(crate) remaining: Option<usize>,
}

/// The start, size and version of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageRequest {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
    pub(crate) version: Option<u64>,
}

impl Store {
    /// Lists a page, at `page_request.version` or at the current version.
    pub(crate) fn list(
        &self,
        storage: &str,
        scope: &Scope,
        page_request: &PageRequest,
    ) -> Result<Page, Compacted> {
        let inner = self.lock();
        let version = page_request.version.unwrap_or(inner.version);
        let mut page = Page {
            version,
            objects: Vec::new(),
            next: None,
            remaining: None,
        };
        let Some(collection) = inner.collections.get(storage) else {
            return Ok(page);
        };
        let old = (version < inner.version)
            .then(|| collection.at(version))
            .transpose()?;
        let prefix = if scope.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", scope.namespace)
        };
        let begin = match &page_request.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let now = collection
            .objects
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix));
        let found: Box<dyn Iterator<Item = Arc<Stored>>> = match old {
            None => Box::new(now.map(|(_, stored)| Arc::clone(stored))),
            Some(changed) => {
                let mut then: BTreeMap<String, Arc<Stored>> = now
                    .map(|(key, stored)| (key.clone(), Arc::clone(stored)))
                    .collect();
                for (key, before) in changed {
                    let in_range = key.starts_with(&prefix)
                        && page_request.after.as_ref().is_none_or(|after| key > *after);
                    match before {
                        Some(stored) if in_range => then.insert(key, stored),
                        _ => then.remove(&key),
                    };
                }
                Box::new(then.into_values())
            }
        };
        let mut found = found.filter(|stored| stored.matches(&scope.selector));
        let limit = page_request.limit.unwrap_or(usize::MAX);
        page.objects.extend(found.by_ref().take(limit));
        if let Some(last) = page.objects.last().filter(|_| page.objects.len() == limit) {
            let remaining = if scope.selector.is_empty() {
                found.count()
            } else {
                found.take(1).count()
            };
            if remaining > 0 {
                page.next = Some(last.key.clone());
                page.remaining = scope.selector.is_empty().then_some(remaining);
            }
        }
        Ok(page)
    }
}
