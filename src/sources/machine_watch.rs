//! Watches on the Machines of all kinds that the policy names, as one source of evidence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::{Client, Resource as _};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::machines::{key, machine};
use crate::cluster::backoff::Backoff;
use crate::cluster::error::ApiError;
use crate::cluster::list::Undecodable;
use crate::cluster::random::Random;
use crate::cluster::relist::Relist;
use crate::cluster::shallow_value::ShallowValue;
use crate::cluster::watch::{Change, Selected, Watched, follow};
use judge::evidence::{Fact, Source};
use judge::policy::MachineKind;

/// The state of each kind: synced, failing, or unknown yet.
#[derive(Debug)]
struct KindStates(BTreeMap<usize, Option<Result<(), String>>>);

impl KindStates {
    /// Records the state of a kind. Returns the resulting state of the source.
    fn record(&mut self, index: usize, state: Result<(), String>) -> Option<Fact> {
        self.0.insert(index, Some(state));
        let failed = self
            .0
            .values()
            .flatten()
            .find_map(|state| state.as_ref().err());
        match failed {
            Some(why) => Some(Fact::Failed(Source::Machines, why.clone())),
            None if self.0.values().all(Option::is_some) => Some(Fact::Synced(Source::Machines)),
            None => None,
        }
    }
}

/// The report of a watch on Machines: a fact, or an object that cannot be decoded.
pub type Report = Result<Fact, Undecodable>;

/// An object of any kind, without what is nested too deeply.
struct AnyObject(DynamicObject);

impl<'de> Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyObject, D::Error> {
        let ShallowValue(value) = ShallowValue::deserialize(deserializer)?;
        serde_json::from_value(value)
            .map(AnyObject)
            .map_err(D::Error::custom)
    }
}

impl Watched for AnyObject {
    fn resource_version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }
}

/// Follows every kind until `send` returns false.
pub async fn follow_all<S, F>(client: Client, kinds: Vec<MachineKind>, random: &Random, send: F)
where
    F: Fn(Report) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = bool> + Send + 'static,
{
    let states = kinds.iter().enumerate().map(|(index, _)| (index, None));
    let states = Arc::new(Mutex::new(KindStates(states.collect())));
    let mut watches = tokio::task::JoinSet::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let feed = KindFeed {
            index,
            states: states.clone(),
            send: send.clone(),
            random: random.clone(),
        };
        watches.spawn(follow_kind(client.clone(), kind, feed));
    }
    while watches.join_next().await.is_some() {}
}

/// Reports the changes of one kind.
#[derive(Clone)]
struct KindFeed<F> {
    index: usize,
    states: Arc<Mutex<KindStates>>,
    send: F,
    random: Random,
}

impl<F, S> KindFeed<F>
where
    F: Fn(Report) -> S,
    S: Future<Output = bool>,
{
    /// Reports the state of the kind. Returns false if the receiver is closed.
    async fn report(&self, state: Result<(), String>) -> bool {
        let fact = match self.states.lock() {
            Ok(mut states) => states.record(self.index, state),
            Err(_) => return false,
        };
        match fact {
            Some(fact) => (self.send)(Ok(fact)).await,
            None => true,
        }
    }
}

/// Discovers and watches a kind, repeatedly: after a failure it may be served in another version,
/// or no longer.
async fn follow_kind<S, F>(client: Client, kind: MachineKind, feed: KindFeed<F>)
where
    F: Fn(Report) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = bool> + Send + 'static,
{
    let mut backoff = Backoff::new(
        Duration::from_secs(1),
        Duration::from_secs(15),
        &feed.random,
    );
    let mut relist = Relist::default();
    loop {
        let begun = Instant::now();
        let why = match discover(&client, &kind).await {
            Err(error) => error.to_string(),
            Ok(resource) => match watch_once(&client, &kind, &resource, &mut relist, &feed).await {
                Some(why) => why,
                None => return,
            },
        };
        if !feed.report(Err(format!("{kind}: {why}"))).await {
            return;
        }
        if begun.elapsed() > Duration::from_secs(60) {
            backoff.reset();
        }
        sleep(backoff.pause()).await;
    }
}

/// Watches until a failure, and returns its cause; `None` if the receiver is closed.
async fn watch_once<S, F>(
    client: &Client,
    kind: &MachineKind,
    resource: &ApiResource,
    relist: &mut Relist<String>,
    feed: &KindFeed<F>,
) -> Option<String>
where
    F: Fn(Report) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = bool> + Send + 'static,
{
    let selected = Selected {
        client: client.clone(),
        path: DynamicObject::url_path(resource, kind.namespace.as_deref()),
        labels: kind.label_selector.as_ref().map(ToString::to_string),
        fields: None,
        metadata_only: false,
    };
    let read = |AnyObject(object)| Some((key(kind, &object), machine(kind, &object)));
    let mut failure = None;
    let send = |change| {
        let feed = feed.clone();
        let report = match change {
            Change::Applied { object, .. } => Some(Ok(Fact::Machine(Box::new(object)))),
            Change::Deleted(key) => Some(Ok(Fact::MachineGone(key))),
            Change::Undecodable(object) => Some(Err(object)),
            Change::Synced => None,
            Change::Failed(why) | Change::NotServed(why) => {
                failure = Some(why);
                return async { false }.boxed();
            }
        };
        async move {
            match report {
                Some(report) => (feed.send)(report).await,
                None => feed.report(Ok(())).await,
            }
        }
        .boxed()
    };
    follow(selected, relist, &feed.random, read, send).await;
    failure
}

/// A kind that cannot be discovered.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// The API server has no such API group.
    #[error("the API server has no API group {0}")]
    NoGroup(String),
    /// The API group has no such kind.
    #[error("API group {group} has no kind {kind}")]
    NoKind {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
    /// The API server could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Discovers the version in which a kind is served.
pub async fn discover(client: &Client, kind: &MachineKind) -> Result<ApiResource, DiscoverError> {
    let group = kube::discovery::group(client, &kind.group).await;
    let group = group.map_err(|error| {
        if matches!(error, kube::Error::Discovery(_)) {
            DiscoverError::NoGroup(kind.group.clone())
        } else {
            ApiError::from(error).into()
        }
    })?;
    let (resource, _) =
        group
            .recommended_kind(&kind.kind)
            .ok_or_else(|| DiscoverError::NoKind {
                group: kind.group.clone(),
                kind: kind.kind.clone(),
            })?;
    Ok(resource)
}
