//! Watches: start, events and end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::exchange::{Answer, MERGE, NODES, Recorder, TABLE, mask};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    for name in ["watch-a", "watch-b"] {
        recorder.post("admin", NODES, &node(name, "w")).await?;
    }
    beginnings(recorder).await?;
    changes(recorder).await?;
    selections(recorder).await?;
    refusals(recorder).await?;
    let set = format!("{NODES}?labelSelector=set");
    recorder.delete("admin", &set).await?;
    Ok(())
}

fn node(name: &str, set: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"set": set}}})
}

/// Returns the lines of a watch.
fn events(answer: &Answer) -> Result<Vec<Value>> {
    let line = |line: &str| serde_json::from_str(line).context("a line of a watch");
    answer.text.lines().map(line).collect()
}

/// Returns types and names in order. For a bookmark, also true if it ends the initial events.
fn shown(answer: &Answer) -> Result<Value> {
    let shown = |event: &Value| {
        let metadata = &event["object"]["metadata"];
        let end = &metadata["annotations"]["k8s.io/initial-events-end"];
        match event["type"].as_str() {
            Some("BOOKMARK") => json!(["BOOKMARK", event["object"]["kind"], end]),
            Some("ERROR") => {
                let status = &event["object"];
                let message = mask(status["message"].as_str().unwrap_or_default());
                json!(["ERROR", status["code"], status["reason"], message])
            }
            _ => json!([event["type"], event["object"]["kind"], metadata["name"]]),
        }
    };
    let events: Vec<Value> = events(answer)?.iter().map(shown).collect();
    Ok(json!([answer.code, events]))
}

fn path(query: &str) -> String {
    format!("{NODES}?watch=true&labelSelector=set%3Dw&{query}")
}

async fn beginnings(recorder: &mut Recorder<'_>) -> Result<()> {
    let now = recorder
        .get("admin", &format!("{NODES}?labelSelector=set%3Dw"))
        .await?
        .version();
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let after = format!("resourceVersion={now}&timeoutSeconds=1");
    for (name, query) in [
        ("watch: without a version", "timeoutSeconds=1"),
        (
            "watch: of anything recent",
            "resourceVersion=0&timeoutSeconds=1",
        ),
        ("watch: after a version, nothing", after.as_str()),
        (
            "watch: a streaming list",
            &format!("{initial}&allowWatchBookmarks=true&timeoutSeconds=1"),
        ),
        (
            "watch: a streaming list of at least a version",
            &format!("{initial}&allowWatchBookmarks=true&resourceVersion={now}&timeoutSeconds=1"),
        ),
        (
            "watch: no bookmark so soon",
            &format!("resourceVersion={now}&allowWatchBookmarks=true&timeoutSeconds=4"),
        ),
    ] {
        let answer = recorder.get("admin", &path(query)).await?;
        recorder.note(name, shown(&answer)?)?;
    }
    let old = "resourceVersion=1&timeoutSeconds=1";
    let answer = recorder.get("admin", &path(old)).await?;
    recorder.note("watch: of what is forgotten", shown(&answer)?)?;
    let streaming = format!("{initial}&allowWatchBookmarks=true&timeoutSeconds=1");
    let answer = recorder.get("admin", &path(&streaming)).await?;
    let last = events(&answer)?.pop().context("a bookmark")?;
    let version = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let bookmark = version(&last["object"]["metadata"]["resourceVersion"]);
    recorder.note(
        "watch: the bookmark is no older than the list",
        json!(bookmark >= now.parse().ok()),
    )
}

/// Starts a watch from now, and changes objects while it runs.
async fn changes(recorder: &mut Recorder<'_>) -> Result<()> {
    let now = recorder.get("admin", NODES).await?.version();
    recorder.post("admin", NODES, &node("watch-c", "w")).await?;
    let label = json!({"metadata": {"labels": {"x": "1"}}});
    let one = format!("{NODES}/watch-c");
    recorder.patch("admin", &one, MERGE, &label).await?;
    recorder.patch("admin", &one, MERGE, &label).await?;
    let away = json!({"metadata": {"labels": {"set": "elsewhere"}}});
    recorder.patch("admin", &one, MERGE, &away).await?;
    let back = json!({"metadata": {"labels": {"set": "w"}}});
    recorder.patch("admin", &one, MERGE, &back).await?;
    let last = recorder.get("admin", &one).await?.version();
    recorder.delete("admin", &one).await?;
    let query = path(&format!("resourceVersion={now}&timeoutSeconds=1"));
    let answer = recorder.get("admin", &query).await?;
    recorder.note("watch: all that has happened, in order", shown(&answer)?)?;
    let versions: Vec<u64> = events(&answer)?
        .iter()
        .filter_map(|event| {
            event["object"]["metadata"]["resourceVersion"]
                .as_str()?
                .parse()
                .ok()
        })
        .collect();
    recorder.note(
        "watch: versions grow, also of what goes",
        json!([
            versions.len(),
            versions.is_sorted_by(|a, b| a < b),
            versions.last() > last.parse().ok().as_ref(),
        ]),
    )?;
    // Also live: the watch runs during the changes.
    let now = recorder.get("admin", NODES).await?.version();
    let query = path(&format!("resourceVersion={now}&timeoutSeconds=3"));
    let doing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        recorder.post("admin", NODES, &node("watch-d", "w")).await?;
        recorder.delete("admin", &format!("{NODES}/watch-d")).await
    };
    let (answer, done) = tokio::join!(recorder.get("admin", &query), doing);
    done?;
    let answer = answer?;
    recorder.note("watch: live", shown(&answer)?)
}

async fn selections(recorder: &mut Recorder<'_>) -> Result<()> {
    let one = format!("{NODES}?watch=true&fieldSelector=metadata.name%3Dwatch-a&timeoutSeconds=1");
    let answer = recorder.get("admin", &one).await?;
    recorder.note("watch: one name", shown(&answer)?)?;
    let headers = [("accept", TABLE)];
    let answer = recorder
        .send(
            "admin",
            "GET",
            &path("timeoutSeconds=1"),
            &headers,
            Vec::new(),
        )
        .await?;
    let rows = |event: &Value| {
        let columns = event["object"]["columnDefinitions"].as_array();
        json!([
            event["type"],
            event["object"]["kind"],
            columns.map_or(0, Vec::len),
            event["object"]["rows"][0]["cells"][0],
        ])
    };
    let shown: Vec<Value> = events(&answer)?.iter().map(rows).collect();
    recorder.note("watch: tables", json!(shown))?;
    let answer = recorder
        .get("node", &one.replace("watch-a", "conf-1"))
        .await?;
    recorder.note("watch: a node sees its Node", self::shown(&answer)?)?;
    let answer = recorder.get("node", &one).await?;
    recorder.note("watch: a node does not see another", answer.refusal())
}

async fn refusals(recorder: &mut Recorder<'_>) -> Result<()> {
    for (name, query) in [
        ("watch: a version that is none", "resourceVersion=x"),
        (
            "watch: initial events without a rule",
            "sendInitialEvents=true",
        ),
        (
            "watch: a rule without initial events",
            "resourceVersionMatch=NotOlderThan",
        ),
        (
            "watch: another rule",
            "sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=5",
        ),
        (
            "watch: a field that cannot be selected by",
            "fieldSelector=spec.podCIDR%3Dx",
        ),
    ] {
        let answer = recorder
            .get(
                "admin",
                &format!("{NODES}?watch=true&timeoutSeconds=1&{query}"),
            )
            .await?;
        recorder.note(name, answer.parts(&["/status"]))?;
    }
    Ok(())
}
