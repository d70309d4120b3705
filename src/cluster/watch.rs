//! A watch that is kept alive: it streams lists where the server supports that, retries with a
//! jittered backoff, and reports every failure and every deleted object.
//!
//! Every failure is followed by a fresh list. A watch that resumes is silent until something
//! changes, so it would not prove that it works. A fresh list does, and shows that nothing was
//! missed.
//!
//! kube's own watcher holds a whole page of a list several times in memory, and one object that it
//! cannot decode makes it fail for all others.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::error::{ApiError, describe_absent, is_interruption};
use super::list::{Pages, Undecodable, decode};
use super::random::Random;
use super::raw_request::{MAX_OBJECT_BYTES, too_large};
use super::relist::Relist;
use super::required_rule::RequiredRule;

/// `timeoutSeconds` of a watch. A half-open connection is detected soon after it.
pub const TIMEOUT_SECONDS: u32 = 60;
/// Silence after which a watch is considered lost: its timeout, and the time to report it.
const MAX_SILENCE: Duration = Duration::from_secs(65);
/// Number of lists in a row for which the API server may be older than what was seen.
const MAX_BEHIND: u32 = 10;
/// Annotation of the bookmark that ends a streamed list.
const LIST_END: &str = "k8s.io/initial-events-end";

/// An object that a watch can follow.
pub trait Watched: DeserializeOwned {
    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> Option<&str>;
}

/// The objects to watch.
#[derive(Clone)]
pub struct Selected {
    /// The client to use.
    pub client: Client,
    /// The path of their collection.
    pub path: String,
    /// Label selector.
    pub labels: Option<String>,
    /// Field selector.
    pub fields: Option<String>,
    /// True for `metadata` alone, which the API server sends as PartialObjectMetadata.
    pub metadata_only: bool,
}

/// A change that a watch reports.
#[derive(Debug)]
pub enum Change<K, T> {
    /// An object was listed, created or updated.
    Applied {
        /// Its current state.
        object: T,
        /// True if a list contained it, false if the running watch reported it.
        is_listed: bool,
    },
    /// The object with this key was deleted.
    Deleted(K),
    /// The list is complete, and every deleted object was reported.
    Synced,
    /// The watch failed and will be retried.
    Failed(String),
    /// The API server has no such resource. The watch will be retried.
    NotServed(String),
    /// An object cannot be decoded. The watch continues with the others.
    Undecodable(Undecodable),
}

/// Follows a watch until `send` returns false.
///
/// `read` converts an object to its key and its value, or skips it with `None`. `relist` is empty,
/// or comes from the last watch on the same objects.
pub async fn follow<O, K, T, S>(
    selected: Selected,
    relist: &mut Relist<K>,
    random: &Random,
    read: impl Fn(O) -> Option<(K, T)>,
    send: impl FnMut(Change<K, T>) -> S,
) where
    O: Watched,
    K: Ord,
    S: Future<Output = bool>,
{
    let mut watch = Watch {
        selected,
        streams_lists: true,
        backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(15), random),
        relist,
        has_listed: false,
        read,
        send,
    };
    let mut behind = 0;
    loop {
        let error = match watch.list_and_watch().await {
            End::ReceiverClosed => return,
            End::Failed(error) => error,
        };
        // An API server that never gets to what was seen was restored from a backup.
        let is_behind = error.status() == 504 && watch.relist.newest.is_some();
        behind = if is_behind { behind + 1 } else { 0 };
        if behind > MAX_BEHIND {
            watch.relist.newest = None;
        }
        // A server without streaming lists answers 422, an older one 400.
        if watch.streams_lists && matches!(error.status(), 400 | 422) {
            watch.streams_lists = false;
            continue;
        }
        // 410 Gone ends a watch whose resourceVersion is too old. A fresh list follows, so it is not a failure
        // unless that list ends so too.
        if error.status() != 410 || !watch.has_listed {
            let change = error.change(&watch.selected);
            if !(watch.send)(change).await {
                return;
            }
        }
        sleep(watch.backoff.pause()).await;
    }
}

/// The end of a watch.
enum End {
    ReceiverClosed,
    Failed(WatchError),
}

/// The failure of a watch.
#[derive(Debug, Error)]
enum WatchError {
    /// The list failed, or the watch did not start or was interrupted.
    #[error("{}", ApiError::from(.0))]
    Api(#[from] kube::Error),
    /// The API server ended the watch with an error.
    #[error("the API server ended the watch with {}: {}", .0.code, .0.message)]
    Ended(Box<Status>),
    /// The API server ended the watch before it had listed all objects.
    #[error("the API server ended the watch before its list was complete")]
    EndedEarly,
    /// A list or bookmark has no resourceVersion.
    #[error("the API server sent no resourceVersion")]
    NoResourceVersion,
}

impl WatchError {
    /// The HTTP status; 0 without one.
    fn status(&self) -> u16 {
        match self {
            WatchError::Api(kube::Error::Api(status)) | WatchError::Ended(status) => status.code,
            WatchError::Api(_) | WatchError::EndedEarly | WatchError::NoResourceVersion => 0,
        }
    }

    /// The failure of a watch on these objects. For a missing permission it has the rule to add.
    fn change<K, T>(&self, selected: &Selected) -> Change<K, T> {
        let Selected { path, fields, .. } = selected;
        match (
            self.status(),
            RequiredRule::of_watch(path, fields.as_deref()),
        ) {
            (404, _) => Change::NotServed(describe_absent(path)),
            (403, Some(rule)) => Change::Failed(format!("{self}; {rule}")),
            _ => Change::Failed(self.to_string()),
        }
    }
}

impl From<kube::Error> for End {
    fn from(error: kube::Error) -> End {
        End::Failed(error.into())
    }
}

impl From<WatchError> for End {
    fn from(error: WatchError) -> End {
        End::Failed(error)
    }
}

/// An event of a watch.
#[derive(Deserialize)]
struct WatchEvent<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The used part of a bookmark.
#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

struct Watch<'a, K, R, F> {
    selected: Selected,
    /// False once the server has rejected a streamed list.
    streams_lists: bool,
    backoff: Backoff,
    relist: &'a mut Relist<K>,
    /// True once the current list is complete.
    has_listed: bool,
    read: R,
    send: F,
}

impl<K, R, F> Watch<'_, K, R, F> {
    /// Lists all objects and watches them until a failure.
    async fn list_and_watch<O, T, S>(&mut self) -> End
    where
        O: Watched,
        K: Ord,
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        self.relist.begin();
        self.has_listed = false;
        let mut version = None;
        if !self.streams_lists {
            match self.list().await {
                Ok(listed) => version = Some(listed),
                Err(end) => return end,
            }
        }
        // A watch ends after its timeout and goes on from where it was.
        loop {
            let ended = self.watch(&mut version).await;
            if version.is_some() {
                self.relist.newest.clone_from(&version);
            }
            if let Err(end) = ended {
                return end;
            }
            if version.is_none() {
                return WatchError::EndedEarly.into();
            }
        }
    }

    /// Lists all objects in pages. Returns the resourceVersion of the list.
    async fn list<O, T, S>(&mut self) -> Result<String, End>
    where
        O: Watched,
        K: Ord,
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        let Selected {
            client,
            path,
            labels,
            fields,
            metadata_only,
        } = self.selected.clone();
        let params = ListParams {
            label_selector: labels,
            field_selector: fields,
            ..ListParams::default()
        };
        let mut pages = Pages::new(&client, &path, params);
        if metadata_only {
            pages = pages.of_metadata();
        }
        while let Some(page) = pages.next::<O>().await? {
            for object in page {
                self.apply(object).await?;
            }
        }
        let version = pages
            .resource_version()
            .ok_or(WatchError::NoResourceVersion)?
            .to_owned();
        self.end_list().await?;
        Ok(version)
    }

    /// Watches from this resourceVersion; `None` streams a list first. Returns `Ok` when the server
    /// ends the watch in order.
    async fn watch<O, T, S>(&mut self, version: &mut Option<String>) -> Result<(), End>
    where
        O: Watched,
        K: Ord,
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        let params = WatchParams {
            label_selector: self.selected.labels.clone(),
            field_selector: self.selected.fields.clone(),
            timeout: Some(TIMEOUT_SECONDS),
            bookmarks: true,
            send_initial_events: version.is_none(),
        };
        let newest = self.relist.newest.as_deref();
        let from = version.as_deref().or(newest).unwrap_or("0");
        let request = Request::new(&self.selected.path);
        let request = if self.selected.metadata_only {
            request.watch_metadata(&params, from)
        } else {
            request.watch(&params, from)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        let mut events = pin!(self.selected.client.request_stream(request).await?);
        let mut line = Vec::new();
        while next_line(events.as_mut(), &mut line).await? {
            let event: WatchEvent<'_> = match serde_json::from_slice(&line) {
                Ok(event) => event,
                Err(error) => return Err(kube::Error::SerdeError(error).into()),
            };
            let object = event.object.get();
            match event.event_type {
                "ADDED" | "MODIFIED" => {
                    let object = decode::<O>(object);
                    advance(version, &object);
                    self.apply(object).await?;
                }
                "DELETED" => {
                    let object = decode::<O>(object);
                    advance(version, &object);
                    self.delete(object).await?;
                }
                "BOOKMARK" => {
                    let bookmark: Bookmark =
                        serde_json::from_str(object).map_err(kube::Error::SerdeError)?;
                    let BookmarkMeta {
                        resource_version,
                        annotations,
                    } = bookmark.metadata;
                    if version.is_some() {
                        *version = Some(resource_version);
                    } else if annotations.contains_key(LIST_END) {
                        *version = Some(resource_version);
                        self.end_list().await?;
                    }
                }
                _ => {
                    let status = serde_json::from_str(object).map_err(kube::Error::SerdeError)?;
                    return Err(WatchError::Ended(status).into());
                }
            }
        }
        Ok(())
    }

    async fn apply<O, T, S>(&mut self, object: Result<O, Undecodable>) -> Result<(), End>
    where
        K: Ord,
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        let Some((key, object)) = self.readable(object).await? else {
            return Ok(());
        };
        let is_listed = self.relist.applied(key);
        self.report(Change::Applied { object, is_listed }).await
    }

    async fn delete<O, T, S>(&mut self, object: Result<O, Undecodable>) -> Result<(), End>
    where
        K: Ord,
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        let Some((key, _)) = self.readable(object).await? else {
            return Ok(());
        };
        self.relist.deleted(&key);
        self.report(Change::Deleted(key)).await
    }

    /// Key and value of an object; `None` if it is skipped. Reports one that cannot be decoded.
    async fn readable<O, T, S>(
        &mut self,
        object: Result<O, Undecodable>,
    ) -> Result<Option<(K, T)>, End>
    where
        R: Fn(O) -> Option<(K, T)>,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        match object {
            Ok(object) => Ok((self.read)(object)),
            Err(undecodable) => {
                self.report(Change::Undecodable(undecodable)).await?;
                Ok(None)
            }
        }
    }

    /// Reports the objects that a complete list lacks, and that the list is complete.
    async fn end_list<T, S>(&mut self) -> Result<(), End>
    where
        K: Ord,
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        // Only a complete list proves that the watch works.
        self.backoff.reset();
        self.has_listed = true;
        for key in self.relist.end() {
            self.report(Change::Deleted(key)).await?;
        }
        self.report(Change::Synced).await
    }

    async fn report<T, S>(&mut self, change: Change<K, T>) -> Result<(), End>
    where
        F: FnMut(Change<K, T>) -> S,
        S: Future<Output = bool>,
    {
        match (self.send)(change).await {
            true => Ok(()),
            false => Err(End::ReceiverClosed),
        }
    }
}

/// Records the resourceVersion to go on from, once the list is complete.
fn advance<O: Watched>(version: &mut Option<String>, object: &Result<O, Undecodable>) {
    if let (Some(version), Ok(object)) = (version, object)
        && let Some(newer) = object.resource_version()
    {
        newer.clone_into(version);
    }
}

/// Reads the next line. Returns false at the end of the stream, where an incomplete line is dropped.
async fn next_line(events: Pin<&mut impl AsyncBufRead>, line: &mut Vec<u8>) -> kube::Result<bool> {
    line.clear();
    // Keeps no more than a usual event needs.
    line.shrink_to(64 * 1024);
    let most = u64::try_from(MAX_OBJECT_BYTES).unwrap_or(u64::MAX);
    let mut limited = events.take(most);
    let mut limited = Pin::new(&mut limited);
    let read = limited.read_until(b'\n', line);
    // As kube does, a watch that is silent for too long is resumed.
    let Ok(read) = timeout(MAX_SILENCE, read).await else {
        return Ok(false);
    };
    match read {
        Ok(_) if line.last() == Some(&b'\n') => Ok(true),
        Ok(size) if size >= MAX_OBJECT_BYTES => Err(too_large(MAX_OBJECT_BYTES)),
        Ok(_) => Ok(false),
        Err(error) if is_interruption(&error) => Ok(false),
        Err(error) => Err(kube::Error::ReadEvents(error)),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Object {
        metadata: ObjectMeta,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ObjectMeta {
        name: String,
        resource_version: String,
        number: u8,
    }

    impl Watched for Object {
        fn resource_version(&self) -> Option<&str> {
            Some(&self.metadata.resource_version)
        }
    }

    fn object(name: &str, version: u32, number: i32) -> String {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        format!(
            r#"{{"metadata":{{"managedFields":{deep},"name":"{name}","resourceVersion":"{version}","number":{number}}}}}"#
        )
    }

    fn event(event_type: &str, object: &str) -> String {
        format!("{{\"type\":\"{event_type}\",\"object\":{object}}}\n")
    }

    /// Follows a watch on a server without streaming lists until it fails. Returns the reported
    /// changes, and the URLs of all requests.
    async fn followed(answers: [(u16, String); 4]) -> (Vec<String>, Vec<String>) {
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let urls = Arc::new(Mutex::new(Vec::new()));
        let seen = urls.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            seen.lock().unwrap().push(request.uri().to_string());
            let (code, body) = answers.lock().unwrap().next().unwrap();
            let response = Response::builder().status(code);
            let response = response.body(Body::from(body.into_bytes())).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let selected = Selected {
            client: Client::new(server, "default"),
            path: "/things".into(),
            labels: None,
            fields: None,
            metadata_only: false,
        };
        let changes = Arc::new(Mutex::new(Vec::new()));
        let report = changes.clone();
        let send = move |change: Change<String, u8>| {
            let goes_on = !matches!(change, Change::Failed(_) | Change::NotServed(_));
            report.lock().unwrap().push(match change {
                Change::Applied { object, is_listed } => format!("{object} {is_listed}"),
                Change::Deleted(key) => format!("deleted {key}"),
                Change::Synced => "synced".into(),
                Change::Failed(why) | Change::NotServed(why) => why,
                Change::Undecodable(object) => format!("undecodable {}", object.name),
            });
            std::future::ready(goes_on)
        };
        let read = |object: Object| Some((object.metadata.name, object.metadata.number));
        let random = Random::seeded(1);
        follow(selected, &mut Relist::default(), &random, read, send).await;
        let changes = changes.lock().unwrap().clone();
        (changes, urls.lock().unwrap().clone())
    }

    #[tokio::test]
    async fn an_undecodable_object_ends_neither_list_nor_watch() {
        let page = |token: &str, objects: [String; 2]| {
            let objects = objects.join(",");
            format!(
                r#"{{"metadata":{{"resourceVersion":"5","continue":"{token}"}},"items":[{objects}]}}"#
            )
        };
        let invalid = r#"{"kind":"Status","status":"Failure","code":422,"message":"no"}"#;
        let expired = r#"{"kind":"Status","status":"Failure","code":500,"message":"ended"}"#;
        let events = [
            event("MODIFIED", &object("b", 6, -1)),
            event("MODIFIED", &object("a", 7, 7)),
            event("DELETED", &object("c", 8, 3)),
            event("ERROR", expired),
        ];
        let (changes, urls) = followed([
            (422, invalid.into()),
            (200, page("next", [object("a", 1, 1), object("b", 2, -1)])),
            (200, page("", [object("c", 3, 3), object("d", 4, 4)])),
            (200, events.concat()),
        ])
        .await;
        let expected = [
            "1 true",
            "undecodable b",
            "3 true",
            "4 true",
            "synced",
            "undecodable b",
            "7 false",
            "deleted c",
            "the API server ended the watch with 500: ended",
        ];
        assert_eq!(changes, expected);
        assert!(
            urls[1].contains("limit=16") && urls[2].contains("continue=next"),
            "{urls:?}"
        );
        assert!(urls[3].ends_with("resourceVersion=5"), "{urls:?}");
    }
    /// Else a source counts as read for as long as its lists end so.
    #[tokio::test(start_paused = true)]
    async fn a_list_that_has_expired_is_a_failure_and_a_watch_is_not() {
        let invalid = r#"{"kind":"Status","status":"Failure","code":422,"message":"no"}"#;
        let expired = r#"{"kind":"Status","status":"Failure","code":410,"message":"too old"}"#;
        let list = format!(
            r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{}]}}"#,
            object("a", 1, 1)
        );
        let (changes, urls) = followed([
            (422, invalid.into()),
            (200, list),
            (410, expired.into()),
            (410, expired.into()),
        ])
        .await;
        assert_eq!(changes[..2], ["1 true", "synced"]);
        assert!(changes[2].contains("too old"), "{changes:?}");
        assert_eq!((changes.len(), urls.len()), (3, 4));
    }
}
