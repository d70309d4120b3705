//! Which Event is written next: one for each request that was denied, and for each Node and reason
//! one that counts. No I/O and no clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

/// Events that are written once and may wait for it.
const MAX_SINGLE_EVENTS: usize = 64;
/// Series that are remembered, of which the one that was quiet longest makes room for a new one.
/// Most Nodes have one at most: reasons differ when somebody tries what works.
const MAX_SERIES: usize = 1024;
/// The least time between two writes of the same series.
pub(super) const SERIES_INTERVAL: Duration = Duration::from_secs(10);
/// How much of an object's name is in the name of an Event, which the API server limits to 253.
const MAX_NAME_PREFIX: usize = 200;

/// What an Event tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventContent {
    /// What it is about.
    pub(super) regarding: ObjectReference,
    /// What else it is about.
    pub(super) related: Option<ObjectReference>,
    pub(super) action: &'static str,
    pub(super) reason: &'static str,
    pub(super) note: String,
    /// When it happened.
    pub(super) time: Timestamp,
}

impl EventContent {
    /// A name that no other Event has.
    fn event_name(&self) -> String {
        let about = self.regarding.name.as_deref().unwrap_or_default();
        let about: String = about.chars().take(MAX_NAME_PREFIX).collect();
        let about = about.trim_end_matches(['.', '-']);
        format!("{about}.{:x}", self.time.as_nanosecond())
    }
}

/// What a series counts: denials of this Node for this reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    node: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Series {
    /// `metadata.name` of its Event.
    event: String,
    /// Whether that Event is there.
    created: bool,
    /// The first of what the Event does not tell yet.
    first_unwritten: EventContent,
    count: i32,
    /// The count in the Event.
    written_count: i32,
    last: Timestamp,
    /// It is not written before this.
    not_before: Instant,
}

/// How often, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesState {
    pub(super) count: i32,
    pub(super) last: Timestamp,
}

/// The next write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventWrite {
    /// `metadata.name` of the Event.
    pub(super) event: String,
    pub(super) series: SeriesState,
    /// What to create; `None` if the Event is there and only its series changes.
    pub(super) create: Option<EventContent>,
    key: Option<Key>,
}

/// How a write has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// The Event says what it should.
    Written,
    /// An Event of that name was there before: an answer was lost.
    Exists,
    /// There is no such Event any more.
    Gone,
    /// Nobody knows.
    Failed,
}

/// What is still to be told, as much of it as there is room for.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    single: VecDeque<EventContent>,
    series: BTreeMap<Key, Series>,
    /// Whether it is the turn of a series: each kind of Event gets half of the writes.
    series_next: bool,
}

impl EventQueue {
    /// An Event of its own. Returns whether there was room.
    pub(super) fn push(&mut self, content: EventContent) -> bool {
        let room = self.single.len() < MAX_SINGLE_EVENTS;
        if room {
            self.single.push_back(content);
        }
        room
    }

    /// Counts in the series of this Node and the content's reason.
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

    /// When something can be written; `None` if nothing waits.
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

    /// What to write now. The end of it is to be told before the next is asked for.
    pub(super) fn next_write(&mut self, now: Instant) -> Option<EventWrite> {
        let of_series = self
            .unwritten_series()
            .filter(|(_, series)| series.not_before <= now)
            .min_by_key(|(_, series)| series.not_before)
            .map(|(key, series)| EventWrite {
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
        let content = self.single.pop_front()?;
        Some(EventWrite {
            event: content.event_name(),
            series: SeriesState {
                count: 1,
                last: content.time,
            },
            create: Some(content),
            key: None,
        })
    }

    /// A write has ended.
    pub(super) fn complete(&mut self, write: &EventWrite, ended: WriteOutcome, now: Instant) {
        // It may have made room meanwhile, and come again with another Event.
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
            // Events expire. The next one tells what this one did not.
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
