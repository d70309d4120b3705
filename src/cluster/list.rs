//! Lists in pages that are bounded in bytes, with each object decoded by itself.
//!
//! Anyone with a node's credential can create requests of more than a megabyte each. A page that is
//! too large is dropped before it is read to its end, and requested again with fewer objects. An
//! object that cannot be decoded is reported by its name, and the others are kept.

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::raw_request::{Limited, MAX_OBJECT_BYTES, limited_response, too_large};

/// Maximum size of a page, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Number of objects in the first page.
const FIRST: u32 = 16;
/// Maximum number of objects in a page, as in client-go.
const MOST: u32 = 500;
/// A page below this size, in bytes, is followed by one of twice as many objects.
const SMALL: usize = MAX_BYTES / 4;

/// An object of a list or a watch that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Namespace and name, as far as they can be decoded.
    pub name: String,
    /// The cause.
    pub why: String,
}

/// The used part of `metadata` of an object that cannot be decoded.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    metadata: NamedMeta,
}

#[derive(Default, Deserialize)]
struct NamedMeta {
    name: Option<String>,
    namespace: Option<String>,
}

/// Decodes one object.
pub(super) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Undecodable> {
    serde_json::from_str(text).map_err(|error| {
        let Named { metadata } = serde_json::from_str(text).unwrap_or_default();
        let name = metadata.name.unwrap_or_default();
        Undecodable {
            name: match metadata.namespace {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name,
            },
            why: error.to_string(),
        }
    })
}

/// One page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    r#continue: Option<String>,
    resource_version: Option<String>,
}

/// A list that is read page by page.
pub struct Pages<'a> {
    client: &'a Client,
    path: &'a str,
    params: ListParams,
    /// Number of objects to request next.
    limit: u32,
    is_complete: bool,
    metadata_only: bool,
    resource_version: Option<String>,
}

impl<'a> Pages<'a> {
    /// A list of the collection at this path. Nothing is sent yet.
    pub fn new(client: &'a Client, path: &'a str, params: ListParams) -> Pages<'a> {
        Pages {
            client,
            path,
            params,
            limit: FIRST,
            is_complete: false,
            metadata_only: false,
            resource_version: None,
        }
    }

    /// The same list with the `metadata` of each object alone.
    pub fn of_metadata(self) -> Pages<'a> {
        Pages {
            metadata_only: true,
            ..self
        }
    }

    /// Reads the next page; `None` after the last one. A continue token that has expired is an error
    /// of the API server with code 410.
    pub async fn next<T: DeserializeOwned>(
        &mut self,
    ) -> kube::Result<Option<Vec<Result<T, Undecodable>>>> {
        if self.is_complete {
            return Ok(None);
        }
        let body = self.body().await?;
        if body.len() < SMALL {
            self.limit = self.limit.saturating_mul(2).min(MOST);
        }
        let page: Page<'_> = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        let token = page.metadata.r#continue.filter(|token| !token.is_empty());
        self.is_complete = token.is_none();
        self.params.continue_token = token;
        self.resource_version = page.metadata.resource_version;
        let items = page.items.unwrap_or_default();
        Ok(Some(items.iter().map(|item| decode(item.get())).collect()))
    }

    /// The resourceVersion of the list, from its last page; `None` if the API server sent none.
    pub fn resource_version(&self) -> Option<&str> {
        let version = self.resource_version.as_deref();
        version.filter(|version| !version.is_empty())
    }

    /// Reads a page as small as it must be.
    async fn body(&mut self) -> kube::Result<Vec<u8>> {
        loop {
            let params = self.params.clone().limit(self.limit);
            let request = Request::new(self.path);
            let request = if self.metadata_only {
                request.list_metadata(&params)
            } else {
                request.list(&params)
            };
            let request = request.map_err(kube::Error::BuildRequest)?;
            let max_bytes = if self.limit > 1 {
                MAX_BYTES
            } else {
                MAX_OBJECT_BYTES
            };
            match limited_response(self.client, request, max_bytes).await? {
                Limited::Whole(body) => return Ok(body),
                Limited::TooLarge if self.limit > 1 => self.limit = (self.limit / 4).max(1),
                Limited::TooLarge => return Err(too_large(max_bytes)),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Object {
        number: u8,
    }

    #[test]
    fn an_undecodable_object_is_named_and_the_others_are_kept() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let text = format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"7","continue":""}},
               "items":[{{"metadata":{{"managedFields":{deep}}},"number":1}},
               {{"number":-1,"metadata":{{"name":"b","namespace":"a"}}}},{{"number":3}}]}}"#
        );
        let page: Page<'_> = serde_json::from_slice(text.as_bytes()).unwrap();
        let items = page.items.unwrap();
        let decoded: Vec<_> = items.iter().map(|item| decode(item.get())).collect();
        assert_eq!(decoded.len(), 3);
        assert_eq!(decoded[0], Ok(Object { number: 1 }));
        assert_eq!(decoded[1].as_ref().unwrap_err().name, "a/b");
        assert_eq!(decoded[2], Ok(Object { number: 3 }));
    }
}
