//! An Event for each denial and for a policy that cannot be used, so that `kubectl describe` and
//! `kubectl get events` tell of it.
//!
//! One attempt each, a bounded number waiting, a bounded rate: an attacker must not make us
//! flood the API server. The log and the condition hold every denial.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::connection::WRITE_DEADLINE;
use super::error::describe;
use crate::Denial;
use crate::policy::Policy;

/// Events of cluster-scoped objects stand in this namespace.
const NAMESPACE: &str = "default";
const CONTROLLER: &str = "csr-warden";
/// Events that may wait to be written.
const WAITING: usize = 64;
/// The least time between two of them.
const EACH: Duration = Duration::from_millis(200);
/// The longest note that the API server takes, in bytes (`pkg/apis/core/validation/events.go`).
const LONGEST_NOTE: usize = 1000;

/// Where Events are handed in.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Notice>);

/// What an Event tells.
#[derive(Clone, Debug)]
struct Notice {
    /// What it is about.
    regarding: ObjectReference,
    action: &'static str,
    reason: String,
    note: String,
}

impl Events {
    /// Begins writing events; `instance` says which replica it was.
    pub fn start(client: Client, instance: String) -> Events {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write_all(client, instance, receiver));
        Events(sender)
    }

    /// Hands in a denial. Dropped when too many wait already.
    pub fn denied(&self, denial: &Denial) {
        self.tell(Notice {
            regarding: ObjectReference {
                api_version: Some("certificates.k8s.io/v1".to_owned()),
                kind: Some("CertificateSigningRequest".to_owned()),
                name: Some(denial.name().to_owned()),
                uid: Some(denial.uid().to_owned()),
                ..ObjectReference::default()
            },
            action: "Deny",
            reason: denial.reason().to_owned(),
            note: denial.message().to_owned(),
        });
    }

    /// Hands in that a policy cannot be used and `kept` stays in force.
    pub fn policy_refused(&self, kept: &Policy, why: &str) {
        self.tell(Notice {
            regarding: ObjectReference {
                api_version: Some(kept.api_version.clone()),
                kind: Some(kept.kind.clone()),
                name: Some(kept.metadata.name.clone()),
                ..ObjectReference::default()
            },
            action: "Reload",
            reason: "PolicyRefused".to_owned(),
            note: format!("the policy that was read anew cannot be used, this one stays: {why}"),
        });
    }

    fn tell(&self, notice: Notice) {
        if self.0.try_send(notice).is_err() {
            tracing::debug!("too many Events at once");
        }
    }
}

async fn write_all(client: Client, instance: String, mut receiver: mpsc::Receiver<Notice>) {
    let api: Api<Event> = Api::namespaced(client, NAMESPACE);
    let mut rate = interval(EACH);
    let mut fails = false;
    while let Some(notice) = receiver.recv().await {
        rate.tick().await;
        let about = notice.regarding.name.clone().unwrap_or_default();
        let event = event(notice, &instance);
        let created = timeout(WRITE_DEADLINE, api.create(&PostParams::default(), &event)).await;
        let why = match created {
            Ok(Ok(_)) => {
                fails = false;
                continue;
            }
            Ok(Err(error)) => describe(&error),
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        // Once: the next one will most likely fail in the same way.
        if fails {
            tracing::debug!(about, "cannot write an Event: {why}");
        } else {
            tracing::warn!(about, "cannot write an Event: {why}");
        }
        fails = true;
    }
}

fn event(notice: Notice, instance: &str) -> Event {
    let now = Timestamp::now();
    let mut note = notice.note;
    if note.len() > LONGEST_NOTE {
        let mut end = LONGEST_NOTE;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    let about = notice.regarding.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{about}.{:x}", now.as_nanosecond())),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some(notice.action.to_owned()),
        reason: Some(notice.reason),
        note: Some(note),
        type_: Some("Warning".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(notice.regarding),
        ..Event::default()
    }
}
