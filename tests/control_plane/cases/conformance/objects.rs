//! Create and update of any object, tested with Nodes, Leases and ConfigMaps.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{LEASES, MAPS, NODES, Recorder};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    creating(recorder).await?;
    updating(recorder).await
}

/// Renders a Node that a label selector finds.
pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"set": "conf"}}})
}

async fn creating(recorder: &mut Recorder<'_>) -> Result<()> {
    let made = recorder.post("admin", NODES, &node("conf-a")).await?;
    let has = |path: &str| !made.str(path).is_empty();
    let server_set = [
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/creationTimestamp",
    ];
    recorder.note(
        "create: 201, and what the server adds",
        json!([
            made.parts(&["/kind", "/apiVersion", "/metadata/name", "/metadata/labels"]),
            server_set.map(has),
        ]),
    )?;
    let again = recorder.post("admin", NODES, &node("conf-a")).await?;
    recorder.note("create: the name is taken", again.refusal())?;
    let wrong = [
        ("create: no name", json!({"metadata": {}})),
        (
            "create: a name in upper case",
            json!({"metadata": {"name": "Conf"}}),
        ),
        (
            "create: with a resourceVersion",
            json!({"metadata": {"name": "conf-x", "resourceVersion": "1"}}),
        ),
    ];
    for (name, body) in wrong {
        let answer = recorder.post("admin", NODES, &body).await?;
        recorder.note(name, answer.refusal())?;
    }
    for (name, body) in [
        (
            "create: another kind",
            json!({"kind": "Pod", "metadata": {"name": "conf-x"}}),
        ),
        (
            "create: a field of another type",
            json!({"metadata": {"name": "conf-x"}, "spec": 7}),
        ),
    ] {
        let answer = recorder.post("admin", NODES, &body).await?;
        recorder.note(name, answer.parts(&["/status"]))?;
    }
    let headers = [("content-type", "application/json")];
    let broken = recorder
        .send("admin", "POST", NODES, &headers, b"{".to_vec())
        .await?;
    recorder.note("create: no JSON", broken.parts(&["/status"]))?;
    let unknown = json!({"metadata": {"name": "conf-unknown"}, "spec": {"surprise": 1}});
    let unknown = recorder.post("admin", NODES, &unknown).await?;
    recorder.note(
        "create: unknown fields are dropped",
        unknown.parts(&["/spec/surprise"]),
    )?;
    recorder
        .delete("admin", &format!("{NODES}/conf-unknown"))
        .await?;

    let named = json!({"metadata": {"generateName": "conf-gen-"}, "data": {"a": "1"}});
    let made = recorder.post("admin", MAPS, &named).await?;
    let name = made.str("/metadata/name");
    recorder.note(
        "create: generateName",
        json!([
            made.code,
            name.starts_with("conf-gen-"),
            name.len(),
            made.at("/metadata/generateName"),
        ]),
    )?;
    recorder.delete("admin", &format!("{MAPS}/{name}")).await?;
    let astray = json!({"metadata": {"name": "conf-m", "namespace": "kube-system"}});
    let astray = recorder.post("admin", MAPS, &astray).await?;
    recorder.note("create: another namespace in the object", astray.refusal())?;
    let nowhere = "/api/v1/namespaces/nowhere/configmaps";
    let nowhere = recorder
        .post("admin", nowhere, &json!({"metadata": {"name": "conf-m"}}))
        .await?;
    recorder.note("create: no such namespace", nowhere.refusal())?;
    let dry = recorder
        .post("admin", &format!("{NODES}?dryRun=All"), &node("conf-dry"))
        .await?;
    let kept = recorder.get("admin", &format!("{NODES}/conf-dry")).await?;
    recorder.note(
        "create: a dry run is shown and not kept",
        json!([dry.parts(&["/metadata/name"]), kept.refusal()]),
    )
}

async fn updating(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-a");
    let first = recorder.get("admin", &path).await?;
    let same = recorder.put("admin", &path, &first.body).await?;
    recorder.note(
        "update: nothing new keeps the version",
        json!([same.code, same.version() == first.version()]),
    )?;
    let mut body = first.body.clone();
    body["metadata"]["labels"]["step"] = "1".into();
    let changed = recorder.put("admin", &path, &body).await?;
    recorder.note(
        "update: something new gets a new version",
        json!([
            changed.parts(&["/metadata/labels"]),
            changed.version() != first.version(),
            changed.str("/metadata/uid") == first.str("/metadata/uid"),
        ]),
    )?;
    let stale = recorder.put("admin", &path, &body).await?;
    recorder.note("update: an old version", stale.refusal())?;
    body["metadata"]["resourceVersion"] = Value::Null;
    body["metadata"]["labels"]["step"] = "2".into();
    let unconditional = recorder.put("admin", &path, &body).await?;
    recorder.note(
        "update: without a version",
        unconditional.parts(&["/metadata/labels/step"]),
    )?;
    body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    let reborn = recorder.put("admin", &path, &body).await?;
    recorder.note("update: another uid", reborn.refusal())?;
    let other = recorder.put("admin", &path, &node("conf-b")).await?;
    recorder.note("update: another name", other.refusal())?;
    let absent = recorder
        .put("admin", &format!("{NODES}/conf-none"), &node("conf-none"))
        .await?;
    recorder.note("update: not there", absent.refusal())?;

    let mut body = recorder.get("admin", &path).await?.body;
    body["status"]["addresses"] = json!([{"type": "Hostname", "address": "conf-a"}]);
    let main = recorder.put("admin", &path, &body).await?;
    recorder.note(
        "update: the status stays",
        main.parts(&["/status/addresses"]),
    )?;
    body["spec"] = json!({"unschedulable": true});
    body["metadata"]["resourceVersion"] = Value::Null;
    let status = recorder
        .put("admin", &format!("{path}/status"), &body)
        .await?;
    recorder.note(
        "update: the status alone",
        status.parts(&["/status/addresses", "/spec/unschedulable"]),
    )?;

    let lease = json!({"metadata": {"name": "conf-l"}, "spec": {"holderIdentity": "a"}});
    let lease_path = format!("{LEASES}/conf-l");
    let made = recorder.put("admin", &lease_path, &lease).await?;
    recorder.note(
        "update: a Lease that is not there is made",
        made.parts(&["/spec"]),
    )?;
    let unversioned = recorder.put("admin", &lease_path, &lease).await?;
    recorder.note("update: a Lease without a version", unversioned.refusal())?;
    let gone = recorder.delete("admin", &lease_path).await?;
    recorder.note(
        "delete: what a Lease leaves",
        gone.parts(&["/status", "/details/kind"]),
    )
}
