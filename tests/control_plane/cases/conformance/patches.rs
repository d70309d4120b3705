//! All patch types.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{JSON_PATCH, MAPS, MERGE, NODES, Recorder, STRATEGIC};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-a");
    let merge = json!({"metadata": {"labels": {"m": "1", "step": null}}});
    let answer = recorder.patch("admin", &path, MERGE, &merge).await?;
    recorder.note("patch: merge", answer.parts(&["/metadata/labels"]))?;
    let operations = json!([
        {"op": "test", "path": "/metadata/labels/m", "value": "1"},
        {"op": "replace", "path": "/metadata/labels/m", "value": "2"},
    ]);
    let answer = recorder
        .patch("admin", &path, JSON_PATCH, &operations)
        .await?;
    recorder.note("patch: JSON", answer.parts(&["/metadata/labels"]))?;
    let failing = json!([{"op": "test", "path": "/metadata/labels/m", "value": "9"}]);
    let answer = recorder.patch("admin", &path, JSON_PATCH, &failing).await?;
    recorder.note("patch: JSON whose test fails", answer.parts(&["/status"]))?;
    let status = format!("{path}/status");
    let addresses =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    let answer = recorder
        .patch("admin", &status, STRATEGIC, &addresses)
        .await?;
    let mut list = answer
        .at("/status/addresses")
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.sort_by_key(Value::to_string);
    recorder.note(
        "patch: strategic, a list with keys",
        json!([answer.code, list]),
    )?;
    let more = json!({"status": {
        "$setElementOrder/addresses": [{"type": "Hostname"}, {"type": "ExternalIP"}],
        "addresses": [{"type": "ExternalIP", "address": "192.0.2.1"}],
    }});
    let answer = recorder.patch("admin", &status, STRATEGIC, &more).await?;
    recorder.note(
        "patch: strategic, in an order",
        answer.parts(&["/status/addresses"]),
    )?;
    let answer = recorder.patch("admin", &status, MERGE, &addresses).await?;
    recorder.note("patch: merge, a list", answer.parts(&["/status/addresses"]))?;
    let stale = json!({"metadata": {"resourceVersion": "1", "labels": {"m": "3"}}});
    let answer = recorder.patch("admin", &path, MERGE, &stale).await?;
    recorder.note("patch: an old version", answer.refusal())?;
    let absent = format!("{NODES}/conf-none");
    let answer = recorder.patch("admin", &absent, MERGE, &merge).await?;
    recorder.note("patch: not there", answer.refusal())?;
    let answer = recorder.patch("admin", &path, "text/plain", &merge).await?;
    recorder.note("patch: of no known kind", answer.parts(&["/status"]))?;
    let before = recorder.get("admin", &path).await?;
    let answer = recorder.patch("admin", &path, MERGE, &json!({})).await?;
    recorder.note(
        "patch: nothing keeps the version",
        json!([answer.code, answer.version() == before.version()]),
    )?;
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "conf-ssa"}, "data": {"a": "1"}});
    let apply = "application/apply-patch+yaml";
    let map = format!("{MAPS}/conf-ssa");
    let answer = recorder.patch("admin", &map, apply, &config).await?;
    recorder.note("apply: without a manager", answer.parts(&["/status"]))?;
    let by = format!("{map}?fieldManager=conf");
    let answer = recorder.patch("admin", &by, apply, &config).await?;
    recorder.note("apply: makes what is not there", answer.parts(&["/data"]))?;
    let more = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "conf-ssa"}, "data": {"a": "2"}});
    let answer = recorder.patch("admin", &by, apply, &more).await?;
    recorder.note("apply: changes what is there", answer.parts(&["/data"]))?;
    recorder.delete("admin", &map).await?;
    Ok(())
}
