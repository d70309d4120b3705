//! Formats of bodies and responses, and unknown paths.

use anyhow::Result;
use serde_json::json;

use super::exchange::{MAPS, NODES, Recorder};

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    let protobuf = "application/vnd.kubernetes.protobuf";
    let headers = [("content-type", "text/csv")];
    let answer = recorder
        .send("admin", "POST", NODES, &headers, b"a,b".to_vec())
        .await?;
    recorder.note("formats: a body in another", answer.parts(&["/status"]))?;
    let headers = [("accept", "text/csv")];
    let answer = recorder
        .send("admin", "GET", NODES, &headers, Vec::new())
        .await?;
    recorder.note("formats: an answer in another", answer.parts(&["/status"]))?;
    let either = format!("{protobuf}x,application/json");
    let headers = [("accept", either.as_str())];
    let answer = recorder
        .send("admin", "GET", NODES, &headers, Vec::new())
        .await?;
    recorder.note("formats: the second choice", answer.parts(&["/kind"]))?;
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
        let answer = recorder.get("admin", path).await?;
        recorder.note(name, json!(answer.code))?;
    }
    let answer = recorder.get("admin", "/readyz").await?;
    recorder.note("address: readyz", json!([answer.code, answer.text]))?;
    let yaml = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: conf-yaml}, data: {a: b}}";
    let headers = [("content-type", "application/yaml")];
    let answer = recorder
        .send("admin", "POST", MAPS, &headers, yaml.to_vec())
        .await?;
    recorder.note("formats: YAML", answer.parts(&["/data"]))?;
    recorder
        .delete("admin", &format!("{MAPS}/conf-yaml"))
        .await?;
    Ok(())
}
