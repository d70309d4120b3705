//! The effect of every value of the chart, by the table in `effects.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{monitoring_kinds, render};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::manifests::{CHART, Objects};

const EFFECTS: &str = include_str!("effects.yaml");

/// One row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Effect {
    /// Path of the value, with dots.
    value: String,
    to: Value,
    /// Other values.
    #[serde(default)]
    with: Value,
    #[serde(default, rename = "in")]
    object: String,
    #[serde(default)]
    at: String,
    #[serde(default)]
    is: Value,
    /// The reason why a value has no effect on its own.
    is_noted: Option<String>,
}

/// Merges `more` into `values`.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(into), Value::Object(fields)) => {
            for (name, value) in fields {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value.clone(),
    }
}

impl Effect {
    fn without(&self) -> Value {
        let mut values = json!({});
        if !self.with.is_null() {
            merge(&mut values, &self.with);
        }
        values
    }

    fn values(&self) -> Value {
        let names = self.value.rsplit('.');
        let set = names.fold(self.to.clone(), |below, name| json!({name: below}));
        let mut values = self.without();
        merge(&mut values, &set);
        values
    }

    /// The object in question, if it is rendered.
    fn find<'a>(&self, objects: &'a Objects) -> Option<&'a Value> {
        let kind = format!("{} ", self.object);
        let of_kind = || objects.iter().find(|(key, _)| key.starts_with(&kind));
        let found = objects.get(&self.object);
        found.or_else(|| of_kind().map(|(_, object)| object))
    }

    fn seen<'a>(&self, objects: &'a Objects) -> &'a Value {
        let object = self.find(objects);
        let value = object.and_then(|object| object.pointer(&self.at));
        value.unwrap_or(&Value::Null)
    }
}

/// Returns the paths of all values in a schema. An object without properties is one value.
fn paths(path: &str, schema: &Value, into: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(properties) => {
            for (name, schema) in properties {
                let dot = if path.is_empty() { "" } else { "." };
                paths(&format!("{path}{dot}{name}"), schema, into);
            }
        }
        None => {
            into.insert(path.to_owned());
        }
    }
}

type Rendered = BTreeMap<String, Result<Objects>>;

/// Renders the chart with and without the value of each row, on two threads.
fn render_all(assets: &Assets, rows: &[&Effect]) -> Result<Rendered> {
    let mut wanted = BTreeMap::new();
    for row in rows {
        for values in [row.without(), row.values()] {
            wanted.insert(values.to_string(), values);
        }
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let half = wanted.len().div_ceil(2);
    std::thread::scope(|threads| {
        let render_half = |half: &[(String, Value)]| -> Rendered {
            let each = half.iter();
            each.map(|(text, values)| (text.clone(), render(assets, values)))
                .collect()
        };
        let threads: Vec<_> = wanted
            .chunks(half)
            .map(|half| threads.spawn(move || render_half(half)))
            .collect();
        let mut rendered = Rendered::new();
        for thread in threads {
            rendered.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        }
        Ok(rendered)
    })
}

/// Every value has its effect, which is not there without it. A real API server accepts every object
/// that shows one.
pub async fn every_value(assets: Arc<Assets>) -> Result<()> {
    let effects: Vec<Effect> = serde_saphyr::from_str(EFFECTS)?;
    let schema = std::fs::read_to_string(Path::new(CHART).join("values.schema.json"))?;
    let mut all = BTreeSet::new();
    paths("", &serde_json::from_str(&schema)?, &mut all);
    let asserted: BTreeSet<String> = effects.iter().map(|one| one.value.clone()).collect();
    let missing: Vec<_> = all.symmetric_difference(&asserted).collect();
    ensure!(missing.is_empty(), "not a row for each value: {missing:?}");

    let rows: Vec<&Effect> = effects
        .iter()
        .filter(|one| one.is_noted.is_none())
        .collect();
    let rendered = render_all(&assets, &rows)?;
    let of = |values: &Value| &rendered[&values.to_string()];
    let mut shown = Vec::new();
    for effect in rows {
        let what = || format!("{} set to {}", effect.value, effect.to);
        // Values that are rejected without this one show nothing.
        let nothing = Objects::new();
        let baseline = of(&effect.without()).as_ref().unwrap_or(&nothing);
        let before = effect.seen(baseline);
        ensure!(*before != effect.is, "{}: without it, too", what());
        let objects = of(&effect.values()).as_ref();
        let objects = objects.map_err(|error| anyhow!("{}: {error:#}", what()))?;
        let seen = effect.seen(objects);
        ensure!(
            *seen == effect.is,
            "{}: expected {}, found {seen}",
            what(),
            effect.is
        );
        shown.extend(effect.find(objects).cloned());
    }

    let cluster = Cluster::start(&assets, Options::default()).await?;
    monitoring_kinds(&cluster).await?;
    for namespace in ["elsewhere", "monitoring"] {
        cluster.kubectl(&["create", "ns", namespace]).await?;
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": shown}).to_string();
    let args = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    let output = cluster.kubectl_output(&args, &list).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let clean = output.status.success() && stderr.is_empty();
    ensure!(clean, "{}: {stderr}", output.status);
    Ok(())
}
