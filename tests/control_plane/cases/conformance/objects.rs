//! Nodes, Leases and ConfigMaps: what holds for any object.

use anyhow::Result;
use serde_json::{Value, json};

use super::record::{JSON_PATCH, LEASES, MERGE, NODES, Record, STRATEGIC};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub async fn observe(record: &mut Record<'_>) -> Result<()> {
    creating(record).await?;
    updating(record).await?;
    patching(record).await?;
    listing(record).await?;
    deleting(record).await?;
    formats(record).await
}

fn node(name: &str) -> Value {
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

async fn patching(record: &mut Record<'_>) -> Result<()> {
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

async fn listing(record: &mut Record<'_>) -> Result<()> {
    for name in ["conf-b", "conf-c", "conf-d", "conf-e"] {
        record.post("admin", NODES, &node(name)).await?;
    }
    let of_set = format!("{NODES}?labelSelector=set%3Dconf");
    for (name, query) in [
        ("list: labels", "labelSelector=set%3Dconf"),
        (
            "list: a label that is not there",
            "labelSelector=m,set%3Dconf",
        ),
        ("list: not that label", "labelSelector=!m,set%3Dconf"),
        ("list: a set of values", "labelSelector=set%20in%20(conf,x)"),
        ("list: a name", "fieldSelector=metadata.name%3Dconf-b"),
        (
            "list: not that name",
            "fieldSelector=metadata.name!%3Dconf-b",
        ),
        ("list: no such name", "fieldSelector=metadata.name%3Dconf-z"),
        (
            "list: schedulable",
            "fieldSelector=spec.unschedulable%3Dfalse",
        ),
    ] {
        let list = record.get("admin", &format!("{NODES}?{query}")).await?;
        record.note(
            name,
            json!([list.parts(&["/kind", "/apiVersion"]), list.names()]),
        )?;
    }
    for (name, query) in [
        (
            "list: a field that cannot be selected by",
            "fieldSelector=spec.podCIDR%3Dx",
        ),
        ("list: a selector that is none", "labelSelector=a%20b%20c"),
        ("list: a version that is none", "resourceVersion=x"),
        ("list: a token that is none", "limit=1&continue=x"),
    ] {
        let list = record.get("admin", &format!("{NODES}?{query}")).await?;
        record.note(name, list.parts(&["/status"]))?;
    }
    let unselected = record.get("admin", &format!("{NODES}?limit=2")).await?;
    record.note(
        "list: two, and how many remain",
        json!([
            unselected.names(),
            unselected.at("/metadata/remainingItemCount"),
            !unselected.str("/metadata/continue").is_empty(),
        ]),
    )?;
    // What changes between two pages is not seen by the second.
    let first = record.get("admin", &format!("{of_set}&limit=2")).await?;
    record.delete("admin", &format!("{NODES}/conf-c")).await?;
    record.post("admin", NODES, &node("conf-cc")).await?;
    let token = first.str("/metadata/continue");
    let token = token
        .replace('+', "%2B")
        .replace('=', "%3D")
        .replace('/', "%2F");
    let second = record
        .get("admin", &format!("{of_set}&limit=9&continue={token}"))
        .await?;
    record.note(
        "list: the second page is as old as the first",
        json!([
            first.names(),
            first.at("/metadata/remainingItemCount"),
            second.names(),
            second.at("/metadata/continue"),
            first.version() == second.version(),
        ]),
    )?;
    let recent = record
        .get("admin", &format!("{of_set}&resourceVersion=0"))
        .await?;
    record.note(
        "list: anything recent",
        json!([recent.code, recent.names().len() > 3]),
    )?;
    let missing = record.get("admin", &format!("{NODES}/conf-none")).await?;
    record.note("get: not there", missing.refusal())?;
    let list = record.table(&of_set).await?;
    let columns = list.at("/columnDefinitions");
    let columns = columns.as_array().cloned().unwrap_or_default();
    let column = |one: &Value| json!([one["name"], one["type"], one["format"], one["priority"]]);
    let columns: Vec<Value> = columns.iter().map(column).collect();
    record.note(
        "table: the columns of nodes",
        json!([list.at("/kind"), columns]),
    )?;
    record.note(
        "table: the cells of nodes",
        json!(without_ages(&list.at("/rows"), 3)),
    )
}

/// The cells of all rows, but not how old things are.
pub fn without_ages(rows: &Value, age: usize) -> Vec<Value> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    let cells = |row: &Value| {
        let mut cells = row["cells"].as_array().cloned().unwrap_or_default();
        cells[age] = cells[age].is_string().into();
        json!([cells, row["object"]["kind"]])
    };
    rows.iter().map(cells).collect()
}

async fn deleting(record: &mut Record<'_>) -> Result<()> {
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

async fn formats(record: &mut Record<'_>) -> Result<()> {
    let protobuf = "application/vnd.kubernetes.protobuf";
    let headers = [("content-type", "text/csv")];
    let answer = record
        .send("admin", "POST", NODES, &headers, b"a,b".to_vec())
        .await?;
    record.note("formats: a body in another", answer.parts(&["/status"]))?;
    let headers = [("accept", "text/csv")];
    let answer = record
        .send("admin", "GET", NODES, &headers, Vec::new())
        .await?;
    record.note("formats: an answer in another", answer.parts(&["/status"]))?;
    let either = format!("{protobuf}x,application/json");
    let headers = [("accept", either.as_str())];
    let answer = record
        .send("admin", "GET", NODES, &headers, Vec::new())
        .await?;
    record.note("formats: the second choice", answer.parts(&["/kind"]))?;
    for (name, path) in [
        ("address: no such resource", "/api/v1/surprises"),
        (
            "address: no such group",
            "/apis/surprise.example.com/v1/things",
        ),
        (
            "address: no such version",
            "/apis/certificates.k8s.io/v9/certificatesigningrequests",
        ),
    ] {
        let answer = record.get("admin", path).await?;
        record.note(name, json!(answer.code))?;
    }
    let answer = record.get("admin", "/readyz").await?;
    record.note("address: readyz", json!([answer.code, answer.text]))?;
    let yaml = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: conf-yaml}, data: {a: b}}";
    let headers = [("content-type", "application/yaml")];
    let answer = record
        .send("admin", "POST", MAPS, &headers, yaml.to_vec())
        .await?;
    record.note("formats: YAML", answer.parts(&["/data"]))?;
    record.delete("admin", &format!("{MAPS}/conf-yaml")).await?;
    Ok(())
}
