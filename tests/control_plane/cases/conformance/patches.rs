//! All kinds of patches.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{JSON_PATCH, MAPS, MERGE, NODES, Record, STRATEGIC};

pub async fn observe(record: &mut Record<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-a");
    let merge = json!({"metadata": {"labels": {"m": "1", "step": null}}});
    let answer = record.patch("admin", &path, MERGE, &merge).await?;
    record.note("patch: merge", answer.parts(&["/metadata/labels"]))?;
    let operations = json!([
        {"op": "test", "path": "/metadata/labels/m", "value": "1"},
        {"op": "replace", "path": "/metadata/labels/m", "value": "2"},
    ]);
    let answer = record
        .patch("admin", &path, JSON_PATCH, &operations)
        .await?;
    record.note("patch: JSON", answer.parts(&["/metadata/labels"]))?;
    let failing = json!([{"op": "test", "path": "/metadata/labels/m", "value": "9"}]);
    let answer = record.patch("admin", &path, JSON_PATCH, &failing).await?;
    record.note("patch: JSON whose test fails", answer.parts(&["/status"]))?;
    let status = format!("{path}/status");
    let addresses =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    let answer = record
        .patch("admin", &status, STRATEGIC, &addresses)
        .await?;
    let mut list = answer
        .at("/status/addresses")
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.sort_by_key(Value::to_string);
    record.note(
        "patch: strategic, a list with keys",
        json!([answer.code, list]),
    )?;
    let more = json!({"status": {
        "$setElementOrder/addresses": [{"type": "Hostname"}, {"type": "ExternalIP"}],
        "addresses": [{"type": "ExternalIP", "address": "192.0.2.1"}],
    }});
    let answer = record.patch("admin", &status, STRATEGIC, &more).await?;
    record.note(
        "patch: strategic, in an order",
        answer.parts(&["/status/addresses"]),
    )?;
    let answer = record.patch("admin", &status, MERGE, &addresses).await?;
    record.note("patch: merge, a list", answer.parts(&["/status/addresses"]))?;
    let stale = json!({"metadata": {"resourceVersion": "1", "labels": {"m": "3"}}});
    let answer = record.patch("admin", &path, MERGE, &stale).await?;
    record.note("patch: an old version", answer.refusal())?;
    let absent = format!("{NODES}/conf-none");
    let answer = record.patch("admin", &absent, MERGE, &merge).await?;
    record.note("patch: not there", answer.refusal())?;
    let answer = record.patch("admin", &path, "text/plain", &merge).await?;
    record.note("patch: of no known kind", answer.parts(&["/status"]))?;
    let before = record.get("admin", &path).await?;
    let answer = record.patch("admin", &path, MERGE, &json!({})).await?;
    record.note(
        "patch: nothing keeps the version",
        json!([answer.code, answer.version() == before.version()]),
    )?;
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "conf-ssa"}, "data": {"a": "1"}});
    let apply = "application/apply-patch+yaml";
    let map = format!("{MAPS}/conf-ssa");
    let answer = record.patch("admin", &map, apply, &config).await?;
    record.note("apply: without a manager", answer.parts(&["/status"]))?;
    let by = format!("{map}?fieldManager=conf");
    let answer = record.patch("admin", &by, apply, &config).await?;
    record.note("apply: makes what is not there", answer.parts(&["/data"]))?;
    let more = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "conf-ssa"}, "data": {"a": "2"}});
    let answer = record.patch("admin", &by, apply, &more).await?;
    record.note("apply: changes what is there", answer.parts(&["/data"]))?;
    record.delete("admin", &map).await?;
    Ok(())
}
