//! A stored object at one version.

use std::collections::BTreeMap;

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::super::object;
use super::super::selectors::Selector;

/// A stored object at one version.
#[derive(Debug)]
pub(crate) struct Stored {
    /// `NAME`, or `NAMESPACE/NAME`.
    pub(crate) key: String,
    pub(crate) version: u64,
    /// JSON without `kind` and `apiVersion`, which depend on the requested resource.
    pub(crate) body: Bytes,
    labels: BTreeMap<String, String>,
    fields: Vec<(&'static str, String)>,
}

impl Stored {
    pub(super) fn new(
        storage: &str,
        key: &str,
        version: u64,
        mut object: Map<String, Value>,
    ) -> Stored {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.insert("resourceVersion".into(), version.to_string().into());
        }
        let labels = object
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"))
            .and_then(Value::as_object)
            .map(|labels| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let pair = |(key, value): (&String, &Value)| (key.clone(), text(value));
                labels.iter().map(pair).collect()
            })
            .unwrap_or_default();
        let fields = object::selectable_fields(storage, &object);
        Stored {
            key: key.to_owned(),
            version,
            body: Bytes::from(Value::Object(object).to_string()),
            labels,
            fields,
        }
    }

    /// Decodes the object.
    pub(crate) fn object(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the same object with another version.
    pub(crate) fn renumbered(&self, storage: &str, version: u64) -> Stored {
        Stored::new(storage, &self.key, version, self.object())
    }

    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn matches(&self, selector: &Selector) -> bool {
        selector.matches(&self.labels, |field| match field {
            "metadata.name" => self.name(),
            "metadata.namespace" => self.namespace(),
            other => {
                let found = self.fields.iter().find(|(name, _)| *name == other);
                found.map_or("", |(_, value)| value.as_str())
            }
        })
    }
}
