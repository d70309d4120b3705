//! Paginated lists of one kind of object, with a time limit.

use std::fmt;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Client, Resource};
use serde_json::Value;
use tokio::time::timeout;

use crate::cluster::error::{describe, describe_absent};
use crate::cluster::list::{Pages, Undecodable};
use crate::cluster::protected_objects::{Kind, ProtectedObject};
use crate::cluster::shallow_value::ShallowValue;

/// Time limit for a whole list.
const DEADLINE: Duration = Duration::from_secs(30);
/// Maximum number of restarts of a list whose continue token has expired (410 Gone).
const TRIES: usize = 3;

/// List endpoint of one kind, with the API version and kind of its items.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) api_version: String,
    pub(super) kind: String,
}

impl Listed {
    /// Endpoint of a built-in kind, in one namespace or in all of them.
    pub(super) fn of<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> Listed {
        Listed {
            path: K::url_path(&(), namespace),
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
        }
    }

    /// Endpoint and selection of a kind's protecting objects.
    pub(super) fn protecting(kind: Kind) -> (Listed, ListParams) {
        let selection = kind.selection();
        let listed = Listed {
            path: ProtectedObject::url_path(&kind, selection.namespace),
            api_version: ProtectedObject::api_version(&kind).into_owned(),
            kind: ProtectedObject::kind(&kind).into_owned(),
        };
        let mut params = ListParams::default();
        if let Some(name) = selection.name {
            params = params.fields(&format!("metadata.name={name}"));
        }
        if let Some((label, value)) = selection.label {
            params = params.labels(&format!("{label}={value}"));
        }
        (listed, params)
    }
}

/// The objects of a list.
pub(super) struct Objects<T> {
    pub(super) items: Vec<T>,
    /// Objects that cannot be decoded.
    pub(super) undecodable: Vec<Undecodable>,
}

/// A list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListError {
    /// The API server has no such resource.
    NotServed(String),
    /// Another failure.
    Failed(String),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::NotServed(why) | ListError::Failed(why) => f.write_str(why),
        }
    }
}

/// Lists all objects, each mapped by `keep`. The error is a sentence for a person.
pub(super) async fn list<T>(
    client: &Client,
    listed: &Listed,
    params: &ListParams,
    keep: impl Fn(Value) -> T,
) -> Result<Objects<T>, ListError> {
    let pages = pages(client, listed, params, keep);
    timeout(DEADLINE, pages).await.unwrap_or_else(|_| {
        let seconds = DEADLINE.as_secs();
        let why = format!("the API server did not answer within {seconds} s");
        Err(ListError::Failed(why))
    })
}

async fn pages<T>(
    client: &Client,
    listed: &Listed,
    params: &ListParams,
    keep: impl Fn(Value) -> T,
) -> Result<Objects<T>, ListError> {
    let mut tries = 0;
    loop {
        match all_pages(client, listed, params, &keep).await {
            Err(kube::Error::Api(status)) if status.code == 410 && tries < TRIES => tries += 1,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(ListError::NotServed(describe_absent(&listed.path)));
            }
            result => return result.map_err(|error| ListError::Failed(describe(&error))),
        }
    }
}

async fn all_pages<T>(
    client: &Client,
    listed: &Listed,
    params: &ListParams,
    keep: impl Fn(Value) -> T,
) -> kube::Result<Objects<T>> {
    let mut objects = Objects {
        items: Vec::new(),
        undecodable: Vec::new(),
    };
    let mut pages = Pages::new(client, &listed.path, params.clone());
    while let Some(page) = pages.next().await? {
        for object in page {
            match object {
                Ok(ShallowValue(item)) => objects.items.push(keep(whole(item, listed))),
                Err(undecodable) => objects.undecodable.push(undecodable),
            }
        }
    }
    Ok(objects)
}

/// Adds `apiVersion` and `kind`, which the items of a list lack.
fn whole(mut item: Value, listed: &Listed) -> Value {
    if let Some(fields) = item.as_object_mut() {
        fields.insert("apiVersion".into(), listed.api_version.clone().into());
        fields.insert("kind".into(), listed.kind.clone().into());
    }
    item
}

/// Object without `managedFields` and, for a Node, without annotations and large status fields. No
/// verdict depends on them.
pub(super) fn pruned(mut object: Value) -> Value {
    let is_node = object.get("kind").is_some_and(|kind| kind == "Node");
    let mut remove = |parent: &str, fields: &[&str]| {
        let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
        if let Some(parent) = parent {
            for field in fields {
                parent.remove(*field);
            }
        }
    };
    remove("/metadata", &["managedFields"]);
    if is_node {
        remove("/metadata", &["annotations"]);
        let large = [
            "allocatable",
            "capacity",
            "config",
            "features",
            "images",
            "nodeInfo",
            "runtimeHandlers",
            "volumesAttached",
            "volumesInUse",
        ];
        remove("/status", &large);
    }
    object
}
