//! The event stream of a watch.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, stream};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::call::Shared;
use super::encoding;
use super::faults::Fault;
use super::resources::Resource;
use super::store::{Event, EventKind, Scope, Stored, Subscription};
use super::table::{self, Included};

/// The interval of bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// The format of the objects.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Json,
    Table(Included),
    Metadata,
}

/// The bookmarks that a client has requested.
#[derive(Clone, Copy)]
pub(super) struct Bookmarks {
    pub(super) wanted: bool,
    /// A bookmark with the annotation that ends the initial events.
    pub(super) after_initial: bool,
}

/// One client's watch.
pub(super) struct Watch {
    resource: &'static Resource,
    scope: Scope,
    form: Form,
    bookmarks: Bookmarks,
    version: u64,
    subscription: Subscription,
    shared: Arc<Shared>,
    fault: Option<Fault>,
    sent: usize,
    rows_sent: bool,
}

impl Watch {
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one thing that a watch is"
    )]
    pub(super) fn new(
        resource: &'static Resource,
        scope: Scope,
        form: Form,
        bookmarks: Bookmarks,
        version: u64,
        subscription: Subscription,
        shared: Arc<Shared>,
        fault: Option<Fault>,
    ) -> Watch {
        Watch {
            resource,
            scope,
            form,
            bookmarks,
            version,
            subscription,
            shared,
            fault,
            sent: 0,
            rows_sent: false,
        }
    }

    /// Streams one JSON line for each event, until the timeout.
    pub(super) fn stream(
        mut self,
        present: Vec<Arc<Stored>>,
        lasts: Duration,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        let end = Instant::now() + lasts;
        let mut first = Vec::new();
        for stored in &present {
            self.line("ADDED", stored, &mut first);
        }
        if self.bookmarks.after_initial {
            self.bookmark(self.version, true, &mut first);
        }
        let mut ready = VecDeque::new();
        if !first.is_empty() {
            ready.push_back(Bytes::from(first));
        }
        let bookmark = self.next_bookmark();
        let state = State {
            watch: self,
            ready,
            late: VecDeque::new(),
            end,
            bookmark,
        };
        stream::unfold(state, |mut state| async move {
            let bytes = state.next().await?;
            Some((Ok(bytes), state))
        })
    }

    fn next_bookmark(&self) -> Option<Instant> {
        self.bookmarks
            .wanted
            .then(|| Instant::now() + BOOKMARK_EVERY)
    }

    /// Returns the event as this client sees it: an object can enter or leave its selection.
    fn seen(&self, event: &Event) -> Option<(&'static str, Arc<Stored>)> {
        let now = event.kind != EventKind::Deleted && self.scope.covers(&event.object);
        let before = event
            .before
            .as_ref()
            .filter(|stored| self.scope.covers(stored));
        match (before, now) {
            (None, true) => Some(("ADDED", Arc::clone(&event.object))),
            (Some(_), true) => Some(("MODIFIED", Arc::clone(&event.object))),
            (Some(_), false) if event.kind == EventKind::Deleted => {
                Some(("DELETED", Arc::clone(&event.object)))
            }
            // The last state that matched, with the new version.
            (Some(before), false) => {
                let last = before.renumbered(self.resource.plural, event.object.version);
                Some(("DELETED", Arc::new(last)))
            }
            (None, false) => None,
        }
    }

    fn line(&mut self, kind: &str, stored: &Stored, to: &mut Vec<u8>) {
        to.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        match self.form {
            Form::Json => to.extend_from_slice(&encoding::whole(self.resource, stored)),
            Form::Metadata => {
                let shown = table::metadata_of(stored);
                to.extend_from_slice(shown.to_string().as_bytes());
            }
            Form::Table(included) => {
                let shown = table::of_event(self.resource, stored, included, !self.rows_sent);
                to.extend_from_slice(shown.to_string().as_bytes());
                self.rows_sent = true;
            }
        }
        to.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, version: u64, ends_initial: bool, to: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if let (true, Value::Object(metadata)) = (ends_initial, &mut metadata) {
            metadata.insert(
                "annotations".into(),
                json!({"k8s.io/initial-events-end": "true"}),
            );
        }
        let mut object = Map::new();
        object.insert("metadata".into(), metadata);
        let shown = match self.form {
            Form::Json => encoding::named(self.resource, object),
            Form::Metadata => table::named_metadata(object),
            Form::Table(_) => table::bookmark(object),
        };
        let line = json!({"type": "BOOKMARK", "object": shown});
        to.extend_from_slice(line.to_string().as_bytes());
        to.push(b'\n');
    }
}

struct State {
    watch: Watch,
    ready: VecDeque<Bytes>,
    /// Delayed events, with the time when they are due.
    late: VecDeque<(Instant, Arc<Event>)>,
    end: Instant,
    bookmark: Option<Instant>,
}

impl State {
    /// Returns the next lines, `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if let Some(Fault::DropWatch(after)) = self.watch.fault
                && self.watch.sent >= after
            {
                return None;
            }
            let due = until(self.bookmark);
            let late = until(self.late.front().map(|(at, _)| *at));
            tokio::select! {
                biased;
                event = self.watch.subscription.events.recv() => match self.watch.fault {
                    Some(Fault::Late(time)) => self.late.push_back((Instant::now() + time, event?)),
                    _ => self.take(event?),
                },
                () = late => {
                    if let Some((_, event)) = self.late.pop_front() {
                        self.take(event);
                    }
                }
                () = due => {
                    // All events up to this version are already queued.
                    let version = self.watch.shared.store.version();
                    while let Some((_, event)) = self.late.pop_front() {
                        self.take(event);
                    }
                    while let Ok(event) = self.watch.subscription.events.try_recv() {
                        self.take(event);
                    }
                    let mut line = Vec::new();
                    self.watch.bookmark(version, false, &mut line);
                    self.ready.push_back(Bytes::from(line));
                    self.bookmark = self.watch.next_bookmark();
                }
                () = sleep_until(self.end) => return None,
                () = self.watch.shared.until_ended() => return None,
            }
        }
    }

    /// Renders an event into lines, or two that are swapped.
    fn take(&mut self, event: Arc<Event>) {
        let mut events = vec![event];
        if self.watch.fault == Some(Fault::Reorder)
            && let Ok(next) = self.watch.subscription.events.try_recv()
        {
            events.insert(0, next);
        }
        for event in events {
            let Some((kind, stored)) = self.watch.seen(&event) else {
                continue;
            };
            let times = if self.watch.fault == Some(Fault::Duplicate) {
                2
            } else {
                1
            };
            for _ in 0..times {
                let mut line = Vec::new();
                self.watch.line(kind, &stored, &mut line);
                self.ready.push_back(Bytes::from(line));
                self.watch.sent = self.watch.sent.saturating_add(1);
            }
        }
    }
}

/// Waits until this instant. Forever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
