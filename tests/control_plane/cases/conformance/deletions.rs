//! Deletion of one object and of a collection, with preconditions and finalizers.

use anyhow::Result;
use serde_json::json;

use super::exchange::{MERGE, NODES, Recorder};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-b");
    let uid = recorder.get("admin", &path).await?.str("/metadata/uid");
    let other = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let answer = recorder
        .write("admin", "DELETE", &path, "application/json", &other)
        .await?;
    recorder.note("delete: another uid", answer.refusal())?;
    let this = json!({"preconditions": {"uid": uid}});
    let answer = recorder
        .write("admin", "DELETE", &path, "application/json", &this)
        .await?;
    recorder.note(
        "delete: this uid",
        answer.parts(&["/kind", "/status", "/details/name"]),
    )?;
    let answer = recorder.delete("admin", &path).await?;
    recorder.note("delete: not there", answer.refusal())?;

    let path = format!("{NODES}/conf-d");
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    recorder.patch("admin", &path, MERGE, &held).await?;
    let marked = recorder.delete("admin", &path).await?;
    recorder.note(
        "delete: a finalizer holds it",
        json!([
            marked.parts(&[
                "/kind",
                "/metadata/finalizers",
                "/metadata/deletionGracePeriodSeconds"
            ]),
            !marked.str("/metadata/deletionTimestamp").is_empty(),
        ]),
    )?;
    let again = recorder.delete("admin", &path).await?;
    recorder.note(
        "delete: twice changes nothing",
        json!([again.code, again.version() == marked.version()]),
    )?;
    let free = json!({"metadata": {"finalizers": null}});
    let freed = recorder.patch("admin", &path, MERGE, &free).await?;
    let gone = recorder.get("admin", &path).await?;
    recorder.note(
        "delete: the last finalizer goes, and it with it",
        json!([freed.code, gone.refusal()]),
    )?;
    let of_set = format!("{NODES}?labelSelector=set%3Dconf");
    let all = recorder.delete("admin", &of_set).await?;
    let left = recorder.get("admin", &of_set).await?;
    recorder.note("delete: a collection", json!([all.code, left.names()]))
}
