//! Reads with a deadline and pagination. Only the used fields of an object are decoded.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cluster::error::describe;
use crate::cluster::list::Pages;
use crate::cluster::raw_request;
use crate::doctor::facts::{Known, ReadFailure};

/// Maximum number of objects that are read of one kind. A cluster without an approver may have more
/// requests, but the first ones show enough.
const MAX_OBJECTS: usize = 50_000;

/// A client with a deadline.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) deadline: Duration,
}

/// The used part of `metadata`.
#[derive(Default, Deserialize)]
pub(super) struct SlimMeta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// The URL path of this kind, in one namespace or cluster-wide.
pub(super) fn path<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> String {
    K::url_path(&(), namespace)
}

/// The permission that a read needs: verb and resource.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    verb: &'static str,
    resource: &'static str,
    namespace: Option<&'a str>,
}

impl<'a> Right<'a> {
    /// The permission for a resource without a namespace, or in all of them.
    pub(super) const fn new(verb: &'static str, resource: &'static str) -> Right<'a> {
        Right {
            verb,
            resource,
            namespace: None,
        }
    }

    pub(super) fn in_namespace(self, namespace: &'a str) -> Right<'a> {
        Right {
            namespace: Some(namespace),
            ..self
        }
    }

    pub(super) fn failure(self, forbidden: bool, why: impl Into<String>) -> ReadFailure {
        ReadFailure {
            verb: self.verb,
            resource: self.resource,
            namespace: self.namespace.map(str::to_owned),
            name: None,
            forbidden,
            why: why.into(),
        }
    }

    pub(super) fn failed(self, error: &kube::Error) -> ReadFailure {
        let forbidden = status(error) == 403;
        self.failure(forbidden, describe(error))
    }
}

/// The HTTP status of an error; 0 without one.
pub(super) fn status(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error {
        status.code
    } else {
        0
    }
}

impl Reader {
    /// Waits for a response until the deadline.
    pub(super) async fn within<T>(
        &self,
        right: Right<'_>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Known<Result<T, kube::Error>> {
        match timeout(self.deadline, call).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                let seconds = self.deadline.as_secs();
                Err(right.failure(false, format!("no answer within {seconds} s")))
            }
        }
    }

    /// Reads one object; `None` if it does not exist.
    pub(super) async fn get<K: DeserializeOwned>(
        &self,
        right: Right<'_>,
        path: &str,
        name: &str,
    ) -> Known<Option<K>> {
        let read =
            async { raw_request::response(&self.client, raw_request::get(path, name)?).await };
        let named = |failure: ReadFailure| ReadFailure {
            name: Some(name.to_owned()),
            ..failure
        };
        match self.within(right, read).await.map_err(named)? {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == 404 => Ok(None),
            Err(error) => Err(named(right.failed(&error))),
        }
    }

    /// Lists all objects, and converts each as soon as its page is read. An object that cannot be
    /// decoded is skipped.
    pub(super) async fn list<K: DeserializeOwned, T>(
        &self,
        right: Right<'_>,
        path: &str,
        params: ListParams,
        keep: impl Fn(K) -> Option<T>,
    ) -> Known<Vec<T>> {
        let mut kept = Vec::new();
        let mut seen = 0;
        let mut pages = Pages::new(&self.client, path, params);
        while seen < MAX_OBJECTS {
            let page = self.within(right, pages.next::<K>()).await?;
            let Some(page) = page.map_err(|error| right.failed(&error))? else {
                break;
            };
            seen += page.len();
            kept.extend(page.into_iter().flatten().filter_map(&keep));
        }
        Ok(kept)
    }

    /// The text of the response to a request.
    pub(super) async fn text(
        &self,
        right: Right<'_>,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Known<kube::Result<String>> {
        self.within(right, raw_request::response_text(&self.client, request))
            .await
    }
}
