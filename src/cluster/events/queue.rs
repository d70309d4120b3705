//! Which Event is written next: one for each request that was denied, and for each Node and reason
//! one that counts. No I/O and no clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

/// Events that are written once and may wait for it.
const WAITING: usize = 64;
/// Series that are remembered, of which the one that was quiet longest makes room for a new one.
/// Most Nodes have one at most: reasons differ when somebody tries what works.
const MOST_SERIES: usize = 1024;
/// The least time between two writes of the same series.
pub(super) const EACH_SERIES: Duration = Duration::from_secs(10);
/// How much of an object's name is in the name of an Event, which the API server limits to 253.
const LONGEST_ABOUT: usize = 200;

/// What an Event tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
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

impl Notice {
    /// A name that no other Event has.
    fn event_name(&self) -> String {
        let about = self.regarding.name.as_deref().unwrap_or_default();
        let about: String = about.chars().take(LONGEST_ABOUT).collect();
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
    untold: Notice,
    count: i32,
    /// The count in the Event.
    told: i32,
    last: Timestamp,
    /// It is not written before this.
    not_before: Instant,
}

/// How often, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: i32,
    pub(super) last: Timestamp,
}

/// The next write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    /// `metadata.name` of the Event.
    pub(super) event: String,
    pub(super) tally: Tally,
    /// What to create; `None` if the Event is there and only its series changes.
    pub(super) create: Option<Notice>,
    key: Option<Key>,
}

/// How a write has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
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
pub(super) struct Backlog {
    once: VecDeque<Notice>,
    series: BTreeMap<Key, Series>,
    /// Whether it is the turn of a series: each kind of Event gets half of the writes.
    series_next: bool,
}

impl Backlog {
    /// An Event of its own. Returns whether there was room.
    pub(super) fn tell_once(&mut self, notice: Notice) -> bool {
        let room = self.once.len() < WAITING;
        if room {
            self.once.push_back(notice);
        }
        room
    }

    /// Counts in the series of this Node and the notice's reason.
    pub(super) fn count(&mut self, node: &str, notice: Notice, now: Instant) {
        let key = Key {
            node: node.to_owned(),
            reason: notice.reason,
        };
        if let Some(series) = self.series.get_mut(&key) {
            series.last = notice.time;
            if series.count == series.told {
                series.untold = notice;
            }
            series.count = series.count.saturating_add(1);
            return;
        }
        if self.series.len() >= MOST_SERIES {
            let quiet = self.series.iter().min_by_key(|(_, series)| series.last);
            if let Some(key) = quiet.map(|(key, _)| key.clone()) {
                self.series.remove(&key);
            }
        }
        let series = Series {
            event: notice.event_name(),
            created: false,
            count: 1,
            told: 0,
            last: notice.time,
            not_before: now,
            untold: notice,
        };
        self.series.insert(key, series);
    }

    /// When something can be written; `None` if nothing waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.once.is_empty() {
            self.waiting().map(|(_, series)| series.not_before).min()
        } else {
            Some(now)
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (&Key, &Series)> {
        self.series.iter().filter(|(_, one)| one.count > one.told)
    }

    /// What to write now. The end of it is to be told before the next is asked for.
    pub(super) fn next(&mut self, now: Instant) -> Option<Work> {
        let of_series = self
            .waiting()
            .filter(|(_, series)| series.not_before <= now)
            .min_by_key(|(_, series)| series.not_before)
            .map(|(key, series)| Work {
                event: series.event.clone(),
                tally: Tally {
                    count: series.count,
                    last: series.last,
                },
                create: (!series.created).then(|| series.untold.clone()),
                key: Some(key.clone()),
            });
        if of_series.is_some() && (self.series_next || self.once.is_empty()) {
            self.series_next = false;
            return of_series;
        }
        self.series_next = true;
        let notice = self.once.pop_front()?;
        Some(Work {
            event: notice.event_name(),
            tally: Tally {
                count: 1,
                last: notice.time,
            },
            create: Some(notice),
            key: None,
        })
    }

    /// A write has ended.
    pub(super) fn ended(&mut self, work: &Work, ended: Ended, now: Instant) {
        // It may have made room meanwhile, and come again with another Event.
        let Some(series) = work
            .key
            .as_ref()
            .and_then(|key| self.series.get_mut(key))
            .filter(|series| series.event == work.event)
        else {
            return;
        };
        series.not_before = now + EACH_SERIES;
        match ended {
            Ended::Written => {
                series.created = true;
                series.told = work.tally.count;
            }
            Ended::Exists => {
                series.created = true;
                series.told = 1;
            }
            // Events expire. The next one tells what this one did not.
            Ended::Gone => {
                series.created = false;
                series.count = series.count.saturating_sub(series.told);
                series.told = 0;
                series.event = series.untold.event_name();
                series.not_before = now;
            }
            Ended::Failed => {}
        }
    }
}
