#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::selectors::Selector;
use super::*;

fn object(value: &str) -> Map<String, Value> {
    let object = json!({"metadata": {"name": "x", "labels": {"v": value}}});
    object.as_object().unwrap().clone()
}

fn names(page: &Page) -> Vec<String> {
    page.objects.iter().map(|one| one.key.clone()).collect()
}

#[test]
fn all_pages_of_a_list_have_one_version() {
    let store = Arc::new(Store::new(100));
    for key in ["a", "b", "c", "d"] {
        store
            .put("nodes", key, Expected::Absent, object("1"))
            .unwrap();
    }
    let mut page_request = PageRequest {
        limit: Some(2),
        ..PageRequest::default()
    };
    let first = store
        .list("nodes", &Scope::default(), &page_request)
        .unwrap();
    assert_eq!(
        (names(&first), first.remaining),
        (vec!["a".into(), "b".into()], Some(2))
    );
    // Meanwhile one object is removed, one is added and one changes.
    store.remove("nodes", "c", 3, object("1")).unwrap();
    store
        .put("nodes", "bb", Expected::Absent, object("1"))
        .unwrap();
    store
        .put("nodes", "d", Expected::Version(4), object("2"))
        .unwrap();
    page_request.after = first.next;
    page_request.version = Some(first.version);
    let second = store
        .list("nodes", &Scope::default(), &page_request)
        .unwrap();
    assert_eq!(
        (names(&second), second.next),
        (vec!["c".into(), "d".into()], None)
    );
    assert_eq!(second.objects.last().unwrap().version, 4);
    store.compact();
    assert!(
        store
            .list("nodes", &Scope::default(), &page_request)
            .is_err()
    );
}

#[test]
fn a_write_without_a_change_keeps_the_version() {
    let store = Arc::new(Store::new(100));
    let first = store
        .put("nodes", "a", Expected::Absent, object("1"))
        .unwrap();
    let again = store
        .put("nodes", "a", Expected::Version(1), object("1"))
        .unwrap();
    assert_eq!((first.version, again.version, store.version()), (1, 1, 1));
    assert_eq!(
        store
            .put("nodes", "a", Expected::Version(9), object("2"))
            .unwrap_err(),
        Conflict
    );
}

#[test]
fn a_watch_of_one_name_gets_only_its_events_and_is_removed() {
    let store = Arc::new(Store::new(100));
    let scope = Scope {
        selector: Selector::parse("", "metadata.name=b").unwrap(),
        ..Scope::default()
    };
    let (_, present, mut subscription) = store.watch("nodes", false, &scope, From::Now).unwrap();
    assert!(present.is_empty());
    for key in ["a", "b"] {
        store
            .put("nodes", key, Expected::Absent, object("1"))
            .unwrap();
    }
    let event = subscription.events.try_recv().unwrap();
    assert_eq!((event.kind, event.object.name()), (EventKind::Added, "b"));
    assert!(subscription.events.try_recv().is_err());
    drop(subscription);
    assert!(
        store
            .lock()
            .collections
            .get("nodes")
            .unwrap()
            .watchers_of_key
            .is_empty()
    );
}
