//! What holds for any object that is made or changed: Nodes, Leases and ConfigMaps stand for all.

use anyhow::Result;
use serde_json::{Value, json};

use super::exchange::{LEASES, MAPS, NODES, Record};

pub async fn observe(record: &mut Record<'_>) -> Result<()> {
    creating(record).await?;
    updating(record).await
}

/// A Node that a selector of labels finds.
pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"set": "conf"}}})
}

async fn creating(record: &mut Record<'_>) -> Result<()> {
    let made = record.post("admin", NODES, &node("conf-a")).await?;
    let has = |path: &str| !made.str(path).is_empty();
    let server_set = [
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/creationTimestamp",
    ];
    record.note(
        "create: 201, and what the server adds",
        json!([
            made.parts(&["/kind", "/apiVersion", "/metadata/name", "/metadata/labels"]),
            server_set.map(has),
        ]),
    )?;
    let again = record.post("admin", NODES, &node("conf-a")).await?;
    record.note("create: the name is taken", again.refusal())?;
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
        let answer = record.post("admin", NODES, &body).await?;
        record.note(name, answer.refusal())?;
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
        let answer = record.post("admin", NODES, &body).await?;
        record.note(name, answer.parts(&["/status"]))?;
    }
    let headers = [("content-type", "application/json")];
    let broken = record
        .send("admin", "POST", NODES, &headers, b"{".to_vec())
        .await?;
    record.note("create: no JSON", broken.parts(&["/status"]))?;
    let unknown = json!({"metadata": {"name": "conf-unknown"}, "spec": {"surprise": 1}});
    let unknown = record.post("admin", NODES, &unknown).await?;
    record.note(
        "create: unknown fields are dropped",
        unknown.parts(&["/spec/surprise"]),
    )?;
    record
        .delete("admin", &format!("{NODES}/conf-unknown"))
        .await?;

    let named = json!({"metadata": {"generateName": "conf-gen-"}, "data": {"a": "1"}});
    let made = record.post("admin", MAPS, &named).await?;
    let name = made.str("/metadata/name");
    record.note(
        "create: generateName",
        json!([
            made.code,
            name.starts_with("conf-gen-"),
            name.len(),
            made.at("/metadata/generateName"),
        ]),
    )?;
    record.delete("admin", &format!("{MAPS}/{name}")).await?;
    let astray = json!({"metadata": {"name": "conf-m", "namespace": "kube-system"}});
    let astray = record.post("admin", MAPS, &astray).await?;
    record.note("create: another namespace in the object", astray.refusal())?;
    let nowhere = "/api/v1/namespaces/nowhere/configmaps";
    let nowhere = record
        .post("admin", nowhere, &json!({"metadata": {"name": "conf-m"}}))
        .await?;
    record.note("create: no such namespace", nowhere.refusal())?;
    let dry = record
        .post("admin", &format!("{NODES}?dryRun=All"), &node("conf-dry"))
        .await?;
    let kept = record.get("admin", &format!("{NODES}/conf-dry")).await?;
    record.note(
        "create: a dry run is shown and not kept",
        json!([dry.parts(&["/metadata/name"]), kept.refusal()]),
    )
}

async fn updating(record: &mut Record<'_>) -> Result<()> {
    let path = format!("{NODES}/conf-a");
    let first = record.get("admin", &path).await?;
    let same = record.put("admin", &path, &first.body).await?;
    record.note(
        "update: nothing new keeps the version",
        json!([same.code, same.version() == first.version()]),
    )?;
    let mut body = first.body.clone();
    body["metadata"]["labels"]["step"] = "1".into();
    let changed = record.put("admin", &path, &body).await?;
    record.note(
        "update: something new gets a new version",
        json!([
            changed.parts(&["/metadata/labels"]),
            changed.version() != first.version(),
            changed.str("/metadata/uid") == first.str("/metadata/uid"),
        ]),
    )?;
    let stale = record.put("admin", &path, &body).await?;
    record.note("update: an old version", stale.refusal())?;
    body["metadata"]["resourceVersion"] = Value::Null;
    body["metadata"]["labels"]["step"] = "2".into();
    let unconditional = record.put("admin", &path, &body).await?;
    record.note(
        "update: without a version",
        unconditional.parts(&["/metadata/labels/step"]),
    )?;
    body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    let reborn = record.put("admin", &path, &body).await?;
    record.note("update: another uid", reborn.refusal())?;
    let other = record.put("admin", &path, &node("conf-b")).await?;
    record.note("update: another name", other.refusal())?;
    let absent = record
        .put("admin", &format!("{NODES}/conf-none"), &node("conf-none"))
        .await?;
    record.note("update: not there", absent.refusal())?;

    let mut body = record.get("admin", &path).await?.body;
    body["status"]["addresses"] = json!([{"type": "Hostname", "address": "conf-a"}]);
    let main = record.put("admin", &path, &body).await?;
    record.note(
        "update: the status stays",
        main.parts(&["/status/addresses"]),
    )?;
    body["spec"] = json!({"unschedulable": true});
    body["metadata"]["resourceVersion"] = Value::Null;
    let status = record
        .put("admin", &format!("{path}/status"), &body)
        .await?;
    record.note(
        "update: the status alone",
        status.parts(&["/status/addresses", "/spec/unschedulable"]),
    )?;

    let lease = json!({"metadata": {"name": "conf-l"}, "spec": {"holderIdentity": "a"}});
    let lease_path = format!("{LEASES}/conf-l");
    let made = record.put("admin", &lease_path, &lease).await?;
    record.note(
        "update: a Lease that is not there is made",
        made.parts(&["/spec"]),
    )?;
    let unversioned = record.put("admin", &lease_path, &lease).await?;
    record.note("update: a Lease without a version", unversioned.refusal())?;
    let gone = record.delete("admin", &lease_path).await?;
    record.note(
        "delete: what a Lease leaves",
        gone.parts(&["/status", "/details/kind"]),
    )
}
