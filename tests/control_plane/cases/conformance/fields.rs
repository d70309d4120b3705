//! Unknown and duplicate fields.

use anyhow::Result;
use serde_json::json;

use super::exchange::{JSON_PATCH, MAPS, MERGE, NODES, Recorder, STRATEGIC};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    creating(recorder).await?;
    changing(recorder).await
}

async fn creating(recorder: &mut Recorder<'_>) -> Result<()> {
    let surprises = json!({"metadata": {"name": "conf-f"}, "surprise": 1, "spec": {
        "surprise": {"a": 1}, "taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule", "more": 2},
        ],
    }});
    for (name, parameter) in [
        ("fields: unknown ones, strictly", "fieldValidation=Strict"),
        (
            "fields: unknown ones, with a warning",
            "fieldValidation=Warn",
        ),
        ("fields: unknown ones, ignored", "fieldValidation=Ignore"),
        ("fields: unknown ones, by default", "x=y"),
        ("fields: no such validation", "fieldValidation=Surprise"),
    ] {
        let path = format!("{NODES}?dryRun=All&{parameter}");
        let answer = recorder.post("admin", &path, &surprises).await?;
        recorder.note(name, json!([answer.refusal(), sorted(&answer.warnings)]))?;
    }
    let known = json!({"metadata": {"name": "conf-f", "creationTimestamp": null}, "spec": {}});
    let path = format!("{NODES}?dryRun=All&fieldValidation=Strict");
    let answer = recorder.post("admin", &path, &known).await?;
    recorder.note("fields: none unknown", answer.parts(&["/metadata/name"]))?;
    let twice = br#"{"metadata": {"name": "conf-f", "labels": {"a": "1", "a": "2"}},
        "spec": {"podCIDR": "10.0.0.0/24", "podCIDR": "10.0.1.0/24", "surprise": 1}}"#;
    let json = [("content-type", "application/json")];
    for (name, parameter) in [
        ("fields: twice, strictly", "fieldValidation=Strict"),
        ("fields: twice, with a warning", "fieldValidation=Warn"),
    ] {
        let path = format!("{NODES}?dryRun=All&{parameter}");
        let answer = recorder.send("admin", "POST", &path, &json, twice.to_vec());
        let answer = answer.await?;
        let kept = answer.parts(&["/metadata/labels/a"]);
        let said = json!([kept, answer.refusal(), sorted(&answer.warnings)]);
        recorder.note(name, said)?;
    }
    let yaml = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: conf-f}, date: {a: b}}";
    let headers = [("content-type", "application/yaml")];
    let path = format!("{MAPS}?dryRun=All&fieldValidation=Strict");
    let answer = recorder.send("admin", "POST", &path, &headers, yaml.to_vec());
    let answer = answer.await?;
    recorder.note("fields: unknown ones in YAML", answer.refusal())
}

/// kube-apiserver returns unknown fields in random order.
fn sorted(warnings: &[String]) -> Vec<String> {
    let mut warnings = warnings.to_vec();
    warnings.sort();
    warnings
}

async fn changing(recorder: &mut Recorder<'_>) -> Result<()> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "conf-f"}, "data": {"a": "1"}});
    recorder.post("admin", MAPS, &map).await?;
    let one = format!("{MAPS}/conf-f");
    let strict = format!("{one}?fieldValidation=Strict");
    let mut unknown = map.clone();
    unknown["date"] = json!({"b": "2"});
    let answer = recorder.put("admin", &strict, &unknown).await?;
    recorder.note("fields: an update", answer.refusal())?;
    let add = json!([{"op": "add", "path": "/date", "value": {"b": "2"}}]);
    for (name, kind, patch) in [
        ("fields: a merge patch", MERGE, json!({"date": {"b": "2"}})),
        ("fields: a JSON patch", JSON_PATCH, add),
        (
            "fields: a strategic patch",
            STRATEGIC,
            json!({"date": {"b": "2"}}),
        ),
    ] {
        let answer = recorder.patch("admin", &strict, kind, &patch).await?;
        let refused = json!([answer.code, answer.at("/reason"), answer.causes()]);
        recorder.note(&format!("{name}, strictly"), refused)?;
        let answer = recorder.patch("admin", &one, kind, &patch).await?;
        let warned = json!([answer.parts(&["/date", "/data"]), answer.warnings]);
        recorder.note(&format!("{name}, with a warning"), warned)?;
    }
    let apply = "application/apply-patch+yaml";
    let by = format!("{one}?fieldManager=conf&force=true");
    let answer = recorder.patch("admin", &by, apply, &unknown).await?;
    recorder.note(
        "fields: applied",
        json!([answer.code, answer.at("/message"), answer.warnings]),
    )?;
    recorder.delete("admin", &one).await?;
    Ok(())
}
