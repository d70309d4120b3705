//! Queue of Events: one for each denied request, and one series for each Node and reason. Does no
//! I/O and reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use judge::csr::names::is_dns_subdomain;

/// Maximum number of queued Events that are not part of a series.
const MAX_SINGLE_EVENTS: usize = 64;
/// Maximum number of further attempts to write a single Event.
const MAX_RETRIES: u8 = 5;
/// Maximum number of series. The one that was quiet longest is dropped for a new one.
///
/// Most Nodes have at most one. Reasons differ when an attacker tries several.
const MAX_SERIES: usize = 1024;
/// Minimum time between two writes of the same series.
pub(super) const SERIES_INTERVAL: Duration = Duration::from_secs(10);
/// Part of an object's name that an Event's name keeps. The API server limits that name to 253
/// characters.
const MAX_NAME_PREFIX: usize = 200;

/// Content of an Event; the fields have the names of `events.k8s.io/v1`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventContent {
    /// The object that the Event is about.
    pub(super) regarding: ObjectReference,
    /// A second object that the Event is about.
    pub(super) related: Option<ObjectReference>,
    pub(super) action: &'static str,
    pub(super) reason: &'static str,
    pub(super) note: String,
    /// The time of the occurrence.
    pub(super) time: Timestamp,
}

impl EventContent {
    /// A unique name for the Event.
    fn event_name(&self) -> String {
        // The name of a request can be anything, that of an Event cannot.
        let name = self.regarding.name.as_deref();
        let name = name.filter(|name| is_dns_subdomain(name));
        let about = name.or(self.regarding.uid.as_deref()).unwrap_or_default();
        let about: String = about.chars().take(MAX_NAME_PREFIX).collect();
        let about = about.trim_end_matches(['.', '-']);
        format!("{about}.{:x}", self.time.as_nanosecond())
    }
}

/// The key of a series: denials of one Node for one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    node: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Series {
    /// `metadata.name` of the Event.
    event: String,
    /// True once the Event has been created.
    created: bool,
    /// The first occurrence that the Event does not contain yet.
    first_unwritten: EventContent,
    count: i32,
    /// The count that the Event contains.
    written_count: i32,
    last: Timestamp,
    /// The next write must not start before this instant.
    not_before: Instant,
}

/// Count and last time of a series, as in `series` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesState {
    pub(super) count: i32,
    pub(super) last: Timestamp,
}

/// A write that is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventWrite {
    /// `metadata.name` of the Event.
    pub(super) event: String,
    pub(super) series: SeriesState,
    /// The content to create; `None` to patch the series of an existing Event.
    pub(super) create: Option<EventContent>,
    key: Option<Key>,
    /// Number of writes of this single Event that failed.
    failures: u8,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// The Event is up to date.
    Written,
    /// An Event of this name exists already: the response to an earlier write was lost.
    Exists,
    /// The Event no longer exists.
    Gone,
    /// The outcome is unknown.
    Failed,
}

/// Bounded queue of Events that are not written yet.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    /// Each with the number of writes that failed.
    single: VecDeque<(EventContent, u8)>,
    series: BTreeMap<Key, Series>,
    /// True if the next write is that of a series. Series and single Events get half of the writes
    /// each.
    series_next: bool,
}

impl EventQueue {
    /// Queues a single Event. Returns false if the queue is full.
    pub(super) fn push(&mut self, content: EventContent) -> bool {
        let room = self.single.len() < MAX_SINGLE_EVENTS;
        if room {
            self.single.push_back((content, 0));
        }
        room
    }

    /// Counts an occurrence in the series of this Node and the content's reason.
    pub(super) fn add_to_series(&mut self, node: &str, content: EventContent, now: Instant) {
        let key = Key {
            node: node.to_owned(),
            reason: content.reason,
        };
        if let Some(series) = self.series.get_mut(&key) {
            series.last = content.time;
            if series.count == series.written_count {
                series.first_unwritten = content;
            }
            series.count = series.count.saturating_add(1);
            return;
        }
        if self.series.len() >= MAX_SERIES {
            let quiet = self.series.iter().min_by_key(|(_, series)| series.last);
            if let Some(key) = quiet.map(|(key, _)| key.clone()) {
                self.series.remove(&key);
            }
        }
        let series = Series {
            event: content.event_name(),
            created: false,
            count: 1,
            written_count: 0,
            last: content.time,
            not_before: now,
            first_unwritten: content,
        };
        self.series.insert(key, series);
    }

    /// The instant of the next write; `None` if nothing is queued.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.single.is_empty() {
            self.unwritten_series()
                .map(|(_, series)| series.not_before)
                .min()
        } else {
            Some(now)
        }
    }

    fn unwritten_series(&self) -> impl Iterator<Item = (&Key, &Series)> {
        self.series
            .iter()
            .filter(|(_, one)| one.count > one.written_count)
    }

    /// Returns the next write. Its outcome must be passed to [`EventQueue::complete`] before the
    /// next call.
    pub(super) fn next_write(&mut self, now: Instant) -> Option<EventWrite> {
        let of_series = self
            .unwritten_series()
            .filter(|(_, series)| series.not_before <= now)
            .min_by_key(|(_, series)| series.not_before)
            .map(|(key, series)| EventWrite {
                failures: 0,
                event: series.event.clone(),
                series: SeriesState {
                    count: series.count,
                    last: series.last,
                },
                create: (!series.created).then(|| series.first_unwritten.clone()),
                key: Some(key.clone()),
            });
        if of_series.is_some() && (self.series_next || self.single.is_empty()) {
            self.series_next = false;
            return of_series;
        }
        self.series_next = true;
        let (content, failures) = self.single.pop_front()?;
        Some(EventWrite {
            failures,
            event: content.event_name(),
            series: SeriesState {
                count: 1,
                last: content.time,
            },
            create: Some(content),
            key: None,
        })
    }

    /// Records the outcome of a write.
    pub(super) fn complete(&mut self, write: &EventWrite, ended: WriteOutcome, now: Instant) {
        if ended == WriteOutcome::Failed
            && write.key.is_none()
            && write.failures < MAX_RETRIES
            && let Some(content) = &write.create
        {
            // Its place is taken by newer ones, if there are as many.
            if self.single.len() < MAX_SINGLE_EVENTS {
                let again = (content.clone(), write.failures.saturating_add(1));
                self.single.push_front(again);
            }
            return;
        }
        // The series may have been dropped meanwhile and started again with another Event.
        let Some(series) = write
            .key
            .as_ref()
            .and_then(|key| self.series.get_mut(key))
            .filter(|series| series.event == write.event)
        else {
            return;
        };
        series.not_before = now + SERIES_INTERVAL;
        match ended {
            WriteOutcome::Written => {
                series.created = true;
                series.written_count = write.series.count;
            }
            WriteOutcome::Exists => {
                series.created = true;
                series.written_count = 1;
            }
            // Events expire. A new one contains the occurrences that the old one did not.
            WriteOutcome::Gone => {
                series.created = false;
                series.count = series.count.saturating_sub(series.written_count);
                series.written_count = 0;
                series.event = series.first_unwritten.event_name();
                series.not_before = now;
            }
            WriteOutcome::Failed => {}
        }
    }
}
