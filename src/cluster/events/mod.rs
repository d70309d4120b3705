//! Events for denials and for a policy that cannot be used, so that `kubectl describe` and
//! `kubectl get events` tell of them: one for each request, and for each Node one that counts.
//!
//! One at a time, a bounded number waiting, a bounded rate: an attacker must not make us
//! flood the API server. The log and the condition hold every denial.

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
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clock::Clock;
use super::connection::WRITE_DEADLINE;
use super::error::describe;
use super::raw_request;
use judge::Denial;
use judge::csr::names::NodeName;
use judge::policy::Policy;
use queue::{Backlog, Ended, Notice, Tally, Work};

/// Events of cluster-scoped objects stand in this namespace.
const NAMESPACE: &str = "default";
const CONTROLLER: &str = "csr-warden";
/// The least time between two writes.
const EACH: Duration = Duration::from_millis(200);
/// The longest note that the API server takes, in bytes (`pkg/apis/core/validation/events.go`).
const LONGEST_NOTE: usize = 1000;

/// Where Events are handed in.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    news: Notify,
    clock: Clock,
}

impl Events {
    /// Begins writing events; `instance` says which replica it was.
    pub fn start(client: Client, instance: String, clock: Clock) -> Events {
        let shared = Arc::new(Shared {
            backlog: Mutex::default(),
            news: Notify::new(),
            clock,
        });
        let writer = Writer {
            client,
            instance,
            create_fails: false,
            patch_fails: false,
        };
        tokio::spawn(writer.write_all(shared.clone()));
        Events(shared)
    }

    /// Hands in a denial of what this node has asked for, if it was a node. That of the request is
    /// dropped when too many wait already.
    pub fn denied(&self, denial: &Denial, node: Option<&NodeName>) {
        let request = ObjectReference {
            api_version: Some("certificates.k8s.io/v1".to_owned()),
            kind: Some("CertificateSigningRequest".to_owned()),
            name: Some(denial.name().to_owned()),
            uid: Some(denial.uid().to_owned()),
            ..ObjectReference::default()
        };
        let notice = Notice {
            regarding: request.clone(),
            related: None,
            action: "Deny",
            reason: denial.reason(),
            note: shortened(denial.message().to_owned()),
            time: self.0.clock.wall(),
        };
        if let Some(node) = node {
            let note = format!(
                "a serving certificate was denied, first in request {}: {}",
                denial.name(),
                denial.message()
            );
            let notice = Notice {
                regarding: node_reference(node),
                related: Some(request),
                note: shortened(note),
                ..notice.clone()
            };
            self.0
                .with(|backlog| backlog.count(node.as_str(), notice, Instant::now()));
        }
        self.tell_once(notice);
    }

    /// Hands in that a policy cannot be used and `kept` stays in force.
    pub fn policy_refused(&self, kept: &Policy, why: &str) {
        let note = format!("the policy that was read anew cannot be used, this one stays: {why}");
        self.tell_once(Notice {
            regarding: ObjectReference {
                api_version: Some(kept.api_version.clone()),
                kind: Some(kept.kind.clone()),
                name: Some(kept.metadata.name.clone()),
                ..ObjectReference::default()
            },
            related: None,
            action: "Reload",
            reason: "PolicyRefused",
            note: shortened(note),
            time: self.0.clock.wall(),
        });
    }

    fn tell_once(&self, notice: Notice) {
        if self.0.with(|backlog| backlog.tell_once(notice)) != Some(true) {
            tracing::debug!("too many Events at once");
        }
        self.0.news.notify_one();
    }
}

/// As kubelets name their Node, with the name in place of the UID: `kubectl describe node` looks
/// for both.
fn node_reference(node: &NodeName) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.as_str().to_owned()),
        uid: Some(node.as_str().to_owned()),
        ..ObjectReference::default()
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let mut end = LONGEST_NOTE;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    note
}

impl Shared {
    /// `None` only after a panic, which nothing here does.
    fn with<T>(&self, what: impl FnOnce(&mut Backlog) -> T) -> Option<T> {
        self.backlog
            .lock()
            .ok()
            .map(|mut backlog| what(&mut backlog))
    }

    /// Waits for something to write.
    async fn next(&self) -> Work {
        loop {
            let now = Instant::now();
            let found = self.with(|backlog| (backlog.next(now), backlog.due(now)));
            match found {
                Some((Some(work), _)) => return work,
                Some((None, Some(due))) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.news.notified() => {}
                },
                Some((None, None)) | None => self.news.notified().await,
            }
        }
    }
}

struct Writer {
    client: Client,
    instance: String,
    create_fails: bool,
    patch_fails: bool,
}

impl Writer {
    async fn write_all(mut self, shared: Arc<Shared>) {
        loop {
            let work = shared.next().await;
            let ended = self.write(&work).await;
            shared.with(|backlog| backlog.ended(&work, ended, Instant::now()));
            sleep(EACH).await;
        }
    }

    async fn write(&mut self, work: &Work) -> Ended {
        let written = timeout(WRITE_DEADLINE, self.send(work)).await;
        let (ended, why) = match written {
            Ok(Ok(_)) => (Ended::Written, None),
            Ok(Err(kube::Error::Api(status))) if work.create.is_some() && status.code == 409 => {
                (Ended::Exists, None)
            }
            Ok(Err(kube::Error::Api(status))) if work.create.is_none() && status.code == 404 => {
                (Ended::Gone, None)
            }
            Ok(Err(error)) => (Ended::Failed, Some(describe(&error))),
            Err(_) => {
                let why = "the API server did not answer in time";
                (Ended::Failed, Some(why.to_owned()))
            }
        };
        // Once: the next one will most likely fail in the same way.
        let fails = match work.create {
            Some(_) => &mut self.create_fails,
            None => &mut self.patch_fails,
        };
        let failed = std::mem::replace(fails, why.is_some());
        if let Some(why) = why {
            let event = &work.event;
            if failed {
                tracing::debug!(event, "cannot write an Event: {why}");
            } else {
                tracing::warn!(event, "cannot write an Event: {why}");
            }
        }
        ended
    }

    async fn send(&self, work: &Work) -> kube::Result<()> {
        let request = match &work.create {
            Some(notice) => {
                let event = event(&work.event, notice, work.tally, &self.instance);
                let event = serde_json::to_vec(&event).map_err(kube::Error::SerdeError)?;
                events().create(&PostParams::default(), event)
            }
            None => {
                let patch = Patch::Merge(json!({"series": series(work.tally)}));
                events().patch(&work.event, &PatchParams::default(), &patch)
            }
        };
        // What the server makes of it is not looked at.
        raw_request::text(&self.client, request).await.map(drop)
    }
}

fn events() -> Request {
    Request::new(Event::url_path(&(), Some(NAMESPACE)))
}

/// One occurrence is no series.
fn series(tally: Tally) -> Option<EventSeries> {
    (tally.count > 1).then_some(EventSeries {
        count: tally.count,
        last_observed_time: MicroTime(tally.last),
    })
}

fn event(name: &str, notice: &Notice, tally: Tally, instance: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(notice.time)),
        series: series(tally),
        action: Some(notice.action.to_owned()),
        reason: Some(notice.reason.to_owned()),
        note: Some(notice.note.clone()),
        type_: Some("Warning".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(notice.regarding.clone()),
        related: notice.related.clone(),
        ..Event::default()
    }
}
