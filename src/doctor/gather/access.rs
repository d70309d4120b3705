//! Reads with a deadline, page by page, and what is said when one fails.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cluster::error::describe;
use crate::doctor::facts::{Known, Unread};

/// Objects in one page.
const PAGE: u32 = 500;
/// Objects of one kind that are looked at. A cluster in which nobody approves has this many requests
/// and more; what they say of it is said by the first ones.
const MOST: usize = 50_000;

/// A client with a deadline.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) deadline: Duration,
}

/// The right that a read takes.
#[derive(Clone, Copy)]
pub(super) struct Right(pub(super) &'static str, pub(super) &'static str);

impl Right {
    pub(super) fn unread(self, forbidden: bool, why: impl Into<String>) -> Unread {
        Unread {
            verb: self.0,
            resource: self.1,
            forbidden,
            why: why.into(),
        }
    }

    fn failed(self, error: &kube::Error) -> Unread {
        let forbidden = status(error) == 403;
        self.unread(forbidden, describe(error))
    }
}

/// The HTTP status of an error; 0 if there was none.
pub(super) fn status(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error {
        status.code
    } else {
        0
    }
}

impl Reader {
    /// Waits for one answer, no longer than the deadline.
    pub(super) async fn within<T>(
        &self,
        right: Right,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Known<Result<T, kube::Error>> {
        match timeout(self.deadline, call).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                let seconds = self.deadline.as_secs();
                Err(right.unread(false, format!("no answer within {seconds} s")))
            }
        }
    }

    /// One object; `None` if there is none of that name.
    pub(super) async fn get<K>(&self, right: Right, api: &Api<K>, name: &str) -> Known<Option<K>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        match self.within(right, api.get_opt(name)).await? {
            Ok(found) => Ok(found),
            Err(error) => Err(right.failed(&error)),
        }
    }

    /// All objects, each made into what is kept of it as soon as its page is there.
    pub(super) async fn list<K, T>(
        &self,
        right: Right,
        api: &Api<K>,
        params: ListParams,
        keep: impl Fn(K) -> Option<T>,
    ) -> Known<Vec<T>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut params = params.limit(PAGE);
        let mut kept = Vec::new();
        let mut seen = 0;
        loop {
            let page = self
                .within(right, api.list(&params))
                .await?
                .map_err(|error| right.failed(&error))?;
            seen += page.items.len();
            kept.extend(page.items.into_iter().filter_map(&keep));
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            match next {
                Some(token) if seen < MOST => params.continue_token = Some(token),
                Some(_) | None => return Ok(kept),
            }
        }
    }
}
