//! Reads with a deadline and pagination. Only the used fields of an object are decoded.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kube::api::{GetParams, ListParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cluster::clock::Clock;
use crate::cluster::error::describe;
use crate::cluster::raw_request;
use crate::doctor::facts::{Known, ReadFailure};

/// Maximum number of objects in a page.
const PAGE: u32 = 500;
/// Maximum number of objects that are read of one kind. A cluster without an approver may have more
/// requests, but the first ones show enough.
const MAX_OBJECTS: usize = 50_000;

/// A client with a deadline.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) deadline: Duration,
    pub(super) clock: Clock,
}

/// The used part of `metadata`.
#[derive(Default, Deserialize)]
pub(super) struct SlimMeta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// One page of a list.
#[derive(Deserialize)]
struct Page<K> {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<K>>,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    r#continue: Option<String>,
}

/// The number of objects in a page, and the continue token.
type PageInfo = (usize, Option<String>);

/// The URL path of this kind, in one namespace or cluster-wide.
pub(super) fn path<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> String {
    K::url_path(&(), namespace)
}

/// The permission that a read needs: verb and resource.
#[derive(Clone, Copy)]
pub(super) struct Right(pub(super) &'static str, pub(super) &'static str);

impl Right {
    pub(super) fn failure(self, forbidden: bool, why: impl Into<String>) -> ReadFailure {
        ReadFailure {
            verb: self.0,
            resource: self.1,
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
        right: Right,
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
        right: Right,
        path: &str,
        name: &str,
    ) -> Known<Option<K>> {
        let request = Request::new(path).get(name, &GetParams::default());
        let found = match self.text(right, request).await? {
            Ok(text) => serde_json::from_str(&text).map_err(kube::Error::SerdeError),
            Err(error) if status(&error) == 404 => return Ok(None),
            Err(error) => Err(error),
        };
        found.map(Some).map_err(|error| right.failed(&error))
    }

    /// Lists all objects, and converts each as soon as its page is read.
    pub(super) async fn list<K: DeserializeOwned, T>(
        &self,
        right: Right,
        path: &str,
        params: ListParams,
        keep: impl Fn(K) -> Option<T>,
    ) -> Known<Vec<T>> {
        let mut kept = Vec::new();
        let mut take = |text: &str| {
            let page: Page<K> = serde_json::from_str(text)?;
            let items = page.items.unwrap_or_default();
            let seen = items.len();
            kept.extend(items.into_iter().filter_map(&keep));
            Ok((seen, page.metadata.r#continue))
        };
        self.pages(right, path, params, &mut take).await?;
        Ok(kept)
    }

    async fn pages(
        &self,
        right: Right,
        path: &str,
        params: ListParams,
        take: &mut dyn FnMut(&str) -> serde_json::Result<PageInfo>,
    ) -> Known<()> {
        let mut params = params.limit(PAGE);
        let mut seen = 0;
        loop {
            let page = self.text(right, Request::new(path).list(&params)).await?;
            let page = page.and_then(|text| take(&text).map_err(kube::Error::SerdeError));
            let (objects, token) = page.map_err(|error| right.failed(&error))?;
            seen += objects;
            match token.filter(|token| !token.is_empty()) {
                Some(token) if seen < MAX_OBJECTS => params.continue_token = Some(token),
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// The text of the response to a request.
    pub(super) async fn text(
        &self,
        right: Right,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Known<kube::Result<String>> {
        self.within(right, raw_request::response_text(&self.client, request))
            .await
    }
}
