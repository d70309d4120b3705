//! Events for denials, for requests that wait and for rejected policies, shown by `kubectl describe` and `kubectl
//! get events`.
//!
//! Each denied request has its own Event, and each request that waits one for each code. Each Node has one
//! Event for each reason, which counts.
//!
//! Events are written one at a time, from a bounded queue and at a bounded rate, so that an
//! attacker cannot flood the API server. They are held back while conditions are written, and after a write that
//! failed. The log and the condition record every denial.

mod queue;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::unwrap_used)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::clock::Clock;
use super::connection::WRITE_DEADLINE;
use super::error::{ApiError, describe, retry_after};
use super::random::Random;
use super::raw_request;
use super::required_rule::RequiredRule;
use judge::Denial;
use judge::csr::Uid;
use judge::csr::names::{NodeName, is_dns_subdomain};
use judge::finding::{Code, escaped};
use judge::policy::Policy;
use queue::{EventContent, EventQueue, EventWrite, SeriesState, WriteOutcome};

/// Namespace of the Events of cluster-scoped objects.
const NAMESPACE: &str = "default";
const CONTROLLER: &str = "csr-warden";
/// Minimum pause between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(200);
/// Longest pause after a write that failed.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Longest time for which an Event is held back by writes of conditions.
const MAX_BUSY: Duration = Duration::from_secs(10);
/// Maximum length of a note, in bytes (`pkg/apis/core/validation/events.go`).
const MAX_NOTE_BYTES: usize = 1000;

/// A request that waits, as its Event describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRequest {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// The node of the requestor, if it is one.
    pub node: Option<NodeName>,
    /// The code of the finding for which it waits.
    pub code: Code,
    /// The finding and its remedy.
    pub note: String,
}

/// Records Events, which a task of its own writes.
#[derive(Clone, Debug)]
pub struct EventRecorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<EventQueue>,
    changed: Notify,
    /// True while the writes of conditions need all connections.
    busy: watch::Sender<bool>,
    clock: Clock,
}

impl EventRecorder {
    /// Starts the writer. `instance` is the `reportingInstance` of its Events.
    pub fn start(client: Client, instance: String, clock: Clock, random: &Random) -> EventRecorder {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Notify::new(),
            busy: watch::Sender::new(false),
            clock,
        });
        let writer = Writer {
            client,
            instance,
            backoff: Backoff::new(WRITE_INTERVAL, LAST_RETRY, random),
            create_fails: false,
            patch_fails: false,
        };
        tokio::spawn(writer.write_all(shared.clone()));
        EventRecorder(shared)
    }

    /// Records a denial for the request, and for the node if the requestor is one. The Event of the
    /// request is dropped if the queue is full.
    pub fn record_denial(&self, denial: &Denial, node: Option<&NodeName>) {
        let content = EventContent {
            regarding: request_reference(denial.name(), denial.uid()),
            related: None,
            action: "Deny",
            reason: denial.reason(),
            note: denial.message().to_owned(),
            time: self.0.clock.wall(),
        };
        self.record_of_request(content, node, "was denied");
    }

    /// Records that a request waits, for the request and for the node if the requestor is one. The Event of the
    /// request is dropped if the queue is full.
    pub fn record_wait(&self, request: &WaitingRequest) {
        let content = EventContent {
            regarding: request_reference(&request.name, &request.uid),
            related: None,
            action: "Wait",
            reason: request.code.as_str(),
            note: request.note.clone(),
            time: self.0.clock.wall(),
        };
        self.record_of_request(content, request.node.as_ref(), "waits");
    }

    /// Holds Events back while the writes of conditions need all connections.
    pub fn set_busy(&self, is_busy: bool) {
        self.0
            .busy
            .send_if_modified(|before| std::mem::replace(before, is_busy) != is_busy);
    }

    /// Records an Event of a request, and one of its node if there is one. `what` completes the sentence on
    /// the certificate.
    fn record_of_request(&self, content: EventContent, node: Option<&NodeName>, what: &str) {
        if let Some(node) = node {
            let name = content.regarding.name.clone().unwrap_or_default();
            // kubectl shows a note as it is.
            let name = match is_dns_subdomain(&name) {
                true => name,
                false => escaped(name.as_bytes()),
            };
            let note = format!(
                "a serving certificate {what}, first in request {name}: {}",
                content.note
            );
            let of_node = EventContent {
                regarding: node_reference(node),
                related: Some(content.regarding.clone()),
                note: truncate_note(note),
                ..content.clone()
            };
            self.0
                .with(|queue| queue.add_to_series(node.as_str(), of_node, Instant::now()));
        }
        self.push(EventContent {
            note: truncate_note(content.note),
            ..content
        });
    }

    /// Records that a policy was rejected and `kept` stays in force.
    pub fn record_refused_policy(&self, kept: &Policy, why: &str) {
        let note = format!("the changed policy cannot be used, this one stays in force: {why}");
        self.push(EventContent {
            regarding: ObjectReference {
                api_version: Some(kept.api_version.clone()),
                kind: Some(kept.kind.clone()),
                name: Some(kept.metadata.name.clone()),
                ..ObjectReference::default()
            },
            related: None,
            action: "Reload",
            reason: "PolicyRefused",
            note: truncate_note(note),
            time: self.0.clock.wall(),
        });
    }

    fn push(&self, content: EventContent) {
        if self.0.with(|queue| queue.push(content)) != Some(true) {
            tracing::debug!("too many Events at once");
        }
        self.0.changed.notify_one();
    }
}

fn request_reference(name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("certificates.k8s.io/v1".to_owned()),
        kind: Some("CertificateSigningRequest".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// A reference to a Node as kubelets write it. The name replaces the UID: `kubectl describe node`
/// selects by both.
fn node_reference(node: &NodeName) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.as_str().to_owned()),
        uid: Some(node.as_str().to_owned()),
        ..ObjectReference::default()
    }
}

fn truncate_note(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
    note
}

impl Shared {
    /// Locks the queue; `None` only after a panic.
    fn with<T>(&self, apply: impl FnOnce(&mut EventQueue) -> T) -> Option<T> {
        self.queue.lock().ok().map(|mut queue| apply(&mut queue))
    }

    /// Waits until writes of conditions do not need all connections, and not for ever: Events must not starve.
    async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // The sender lives as long as this value.
        let _ = timeout(MAX_BUSY, busy.wait_for(|busy| !busy)).await;
    }

    /// Waits for the next write.
    async fn next(&self) -> EventWrite {
        loop {
            let now = Instant::now();
            let found = self.with(|queue| (queue.next_write(now), queue.next_due(now)));
            match found {
                Some((Some(write), _)) => return write,
                Some((None, Some(due))) => tokio::select! {
                    biased;
                    () = sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
                Some((None, None)) | None => self.changed.notified().await,
            }
        }
    }
}

/// The rule that writes Events.
fn required_rule() -> RequiredRule {
    RequiredRule::in_role(
        NAMESPACE,
        "events.k8s.io",
        "events",
        None,
        &["create", "patch"],
    )
}

struct Writer {
    client: Client,
    instance: String,
    /// The pause after a write that failed.
    backoff: Backoff,
    create_fails: bool,
    patch_fails: bool,
}

impl Writer {
    async fn write_all(mut self, shared: Arc<Shared>) {
        loop {
            let write = shared.next().await;
            shared.idle().await;
            let (ended, retry_after) = self.write(&write).await;
            shared.with(|queue| queue.complete(&write, ended, Instant::now()));
            let pause = if ended == WriteOutcome::Failed {
                self.backoff.pause().max(retry_after)
            } else {
                self.backoff.reset();
                WRITE_INTERVAL
            };
            sleep(pause).await;
        }
    }

    /// Writes an Event. Returns the outcome, and the pause that the API server asks for.
    async fn write(&mut self, write: &EventWrite) -> (WriteOutcome, Duration) {
        let written = timeout(WRITE_DEADLINE, self.send(write)).await;
        let error = written.as_ref().ok().and_then(|sent| sent.as_ref().err());
        let retry_after = error.and_then(retry_after).unwrap_or_default();
        let retry_after = retry_after.min(LAST_RETRY);
        let (ended, why) = match written {
            Ok(Ok(_)) => (WriteOutcome::Written, None),
            Ok(Err(kube::Error::Api(status))) if write.create.is_some() && status.code == 409 => {
                (WriteOutcome::Exists, None)
            }
            Ok(Err(kube::Error::Api(status))) if write.create.is_none() && status.code == 404 => {
                (WriteOutcome::Gone, None)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                let why = ApiError::from(&*status);
                (
                    WriteOutcome::Failed,
                    Some(format!("{why}; {}", required_rule())),
                )
            }
            Ok(Err(error)) => (WriteOutcome::Failed, Some(describe(&error))),
            Err(_) => {
                let why = "the API server did not answer in time";
                (WriteOutcome::Failed, Some(why.to_owned()))
            }
        };
        // Warn once: the next write is likely to fail in the same way.
        let fails = match write.create {
            Some(_) => &mut self.create_fails,
            None => &mut self.patch_fails,
        };
        let failed = std::mem::replace(fails, why.is_some());
        if let Some(why) = why {
            let event = &write.event;
            if failed {
                tracing::debug!(event, "cannot write an Event: {why}");
            } else {
                tracing::warn!(event, "cannot write an Event: {why}");
            }
        }
        (ended, retry_after)
    }

    async fn send(&self, write: &EventWrite) -> kube::Result<()> {
        let request = match &write.create {
            Some(content) => {
                let event = event(&write.event, content, write.series, &self.instance);
                let event = serde_json::to_vec(&event).map_err(kube::Error::SerdeError)?;
                events().create(&PostParams::default(), event)
            }
            None => {
                let patch = Patch::Merge(json!({"series": event_series(write.series)}));
                events().patch(&write.event, &PatchParams::default(), &patch)
            }
        };
        // The response is not decoded.
        raw_request::response_text(&self.client, request)
            .await
            .map(drop)
    }
}

fn events() -> Request {
    Request::new(Event::url_path(&(), Some(NAMESPACE)))
}

/// A single occurrence has no series.
fn event_series(series: SeriesState) -> Option<EventSeries> {
    (series.count > 1).then_some(EventSeries {
        count: series.count,
        last_observed_time: MicroTime(series.last),
    })
}

fn event(name: &str, content: &EventContent, series: SeriesState, instance: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(content.time)),
        series: event_series(series),
        action: Some(content.action.to_owned()),
        reason: Some(content.reason.to_owned()),
        note: Some(content.note.clone()),
        type_: Some("Warning".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(content.regarding.clone()),
        related: content.related.clone(),
        ..Event::default()
    }
}
