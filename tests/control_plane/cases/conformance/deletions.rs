//! Deletion, with preconditions and finalizers, of one object and of many.

use anyhow::Result;
use serde_json::json;

use super::exchange::{MERGE, NODES, Record};

pub async fn observe(record: &mut Record<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-b");
    let uid = record.get("admin", &path).await?.str("/metadata/uid");
    let other = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let answer = record
        .write("admin", "DELETE", &path, "application/json", &other)
        .await?;
    record.note("delete: another uid", answer.refusal())?;
    let this = json!({"preconditions": {"uid": uid}});
    let answer = record
        .write("admin", "DELETE", &path, "application/json", &this)
        .await?;
    record.note(
        "delete: this uid",
        answer.parts(&["/kind", "/status", "/details/name"]),
    )?;
    let answer = record.delete("admin", &path).await?;
    record.note("delete: not there", answer.refusal())?;

    let path = format!("{NODES}/conf-d");
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    record.patch("admin", &path, MERGE, &held).await?;
    let marked = record.delete("admin", &path).await?;
    record.note(
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
    let again = record.delete("admin", &path).await?;
    record.note(
        "delete: twice changes nothing",
        json!([again.code, again.version() == marked.version()]),
    )?;
    let free = json!({"metadata": {"finalizers": null}});
    let freed = record.patch("admin", &path, MERGE, &free).await?;
    let gone = record.get("admin", &path).await?;
    record.note(
        "delete: the last finalizer goes, and it with it",
        json!([freed.code, gone.refusal()]),
    )?;
    let of_set = format!("{NODES}?labelSelector=set%3Dconf");
    let all = record.delete("admin", &of_set).await?;
    let left = record.get("admin", &of_set).await?;
    record.note("delete: a collection", json!([all.code, left.names()]))
}
