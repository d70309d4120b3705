//! Protobuf bodies. kube-apiserver encodes a JSON object with every field of its type, and the
//! result is sent to both.

use anyhow::{Context as _, Result, ensure};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use super::exchange::{Answer, CSRS, LEASES, MAPS, NODES, Recorder, Users};
use super::samples;

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// An object as kube-apiserver encodes it.
pub struct Encoded {
    path: String,
    /// The given fields. Servers add others.
    given: Value,
    bytes: Vec<u8>,
}

/// Lets kube-apiserver encode all samples.
pub async fn encode(original: &Users) -> Result<Vec<Encoded>> {
    let admin = original.get("admin").context("no administrator")?;
    let mut encoded = Vec::new();
    for (path, given) in samples::all()? {
        let request = Request::post(&path)
            .header("content-type", "application/json")
            .header("accept", MEDIA_TYPE)
            .body(Body::from(given.to_string().into_bytes()))?;
        let answer = admin.send(request).await?;
        let code = answer.status();
        let bytes = answer.into_body().collect_bytes().await?.to_vec();
        ensure!(
            code.is_success() && bytes.starts_with(b"k8s\0"),
            "POST {path}: {code}: {}",
            String::from_utf8_lossy(&bytes)
        );
        encoded.push(Encoded { path, given, bytes });
    }
    Ok(encoded)
}

pub async fn observe(recorder: &mut Recorder<'_>, encoded: &[Encoded]) -> Result<()> {
    for Encoded { path, given, bytes } in encoded {
        let answer = send(recorder, "POST", path, bytes.clone()).await?;
        let kind = given["kind"].as_str().unwrap_or_default();
        let version = given["apiVersion"].as_str().unwrap_or_default();
        recorder.note(&format!("protobuf: {version} {kind}"), json!(answer.code))?;
        if kind != samples::NOT_READ {
            let answered = json!([answer.at("/message"), part(given, &answer.body)]);
            recorder.note(&format!("protobuf: {version} {kind}, answered"), answered)?;
        }
    }
    wrong(recorder, encoded).await?;
    deleting(recorder).await
}

async fn send(recorder: &Recorder<'_>, method: &str, path: &str, body: Vec<u8>) -> Result<Answer> {
    let headers = [("accept", "application/json"), ("content-type", MEDIA_TYPE)];
    recorder.send("admin", method, path, &headers, body).await
}

/// Returns the given fields of a response, at any path.
fn part(given: &Value, answer: &Value) -> Value {
    match (given, answer) {
        (Value::Object(given), Value::Object(answer)) => {
            let kept = given.iter().filter_map(|(key, given)| {
                let answer = answer.get(key)?;
                Some((key.clone(), part(given, answer)))
            });
            Value::Object(kept.collect())
        }
        (Value::Array(given), Value::Array(answer)) if given.len() == answer.len() => {
            let parts = given.iter().zip(answer);
            parts.map(|(given, answer)| part(given, answer)).collect()
        }
        (_, answer) => answer.clone(),
    }
}

async fn wrong(recorder: &mut Recorder<'_>, encoded: &[Encoded]) -> Result<()> {
    let of = |kind: &str| -> Result<Vec<u8>> {
        let found = encoded.iter().find(|one| one.given["kind"] == kind);
        Ok(found.with_context(|| format!("no {kind}"))?.bytes.clone())
    };
    let csr = of("CertificateSigningRequest")?;
    let broken: [(&str, &str, Vec<u8>); 9] = [
        ("nothing", CSRS, Vec::new()),
        ("only the prefix", CSRS, b"k8s\0".to_vec()),
        ("no prefix", CSRS, csr.get(4..).unwrap_or_default().to_vec()),
        ("JSON", CSRS, b"{}".to_vec()),
        (
            "half an envelope",
            CSRS,
            csr.get(..40).unwrap_or_default().to_vec(),
        ),
        (
            "half an object",
            CSRS,
            envelope(
                "certificates.k8s.io/v1",
                "CertificateSigningRequest",
                &[0x0a, 0x7f, 0x0a],
            ),
        ),
        ("an object of another kind", NODES, csr.clone()),
        ("an object of another group", LEASES, csr.clone()),
        (
            "a kind that there is not",
            CSRS,
            envelope("certificates.k8s.io/v1", "Surprise", &[]),
        ),
    ];
    for (name, path, body) in broken {
        let answer = send(recorder, "POST", path, body).await?;
        recorder.note(
            &format!("protobuf: {name}"),
            json!([answer.code, answer.at("/reason")]),
        )?;
    }
    // Unknown fields are skipped, and an envelope may omit the kind. A missing spec is rejected.
    let content = [text(1, "conf-pb"), text(99, "surprise")].concat();
    let unnamed = [message(1, &content), text(98, "surprise")].concat();
    let body = [b"k8s\0".to_vec(), message(2, &unnamed)].concat();
    let path = format!("{CSRS}?dryRun=All&fieldValidation=Strict");
    let answer = send(recorder, "POST", &path, body).await?;
    recorder.note("protobuf: no kind, and unknown fields", answer.refusal())?;
    let answer = send(recorder, "PATCH", &format!("{CSRS}/conf-pb"), csr).await?;
    recorder.note(
        "protobuf: a patch",
        json!([answer.code, answer.at("/reason")]),
    )
}

async fn deleting(recorder: &mut Recorder<'_>) -> Result<()> {
    recorder
        .post("admin", MAPS, &json!({"metadata": {"name": "conf-pb"}}))
        .await?;
    let path = format!("{MAPS}/conf-pb");
    let uid = recorder.get("admin", &path).await?.str("/metadata/uid");
    for (name, version, uid) in [
        ("another uid", "v1", "00000000-0000-4000-8000-000000000000"),
        (
            "this uid, by the version of another group",
            "policy/v1",
            &uid,
        ),
    ] {
        // Grace period, preconditions, propagation policy.
        let options = [
            vec![0x08, 0x00],
            message(2, &text(1, uid)),
            text(4, "Background"),
        ];
        let body = envelope(version, "DeleteOptions", &options.concat());
        let answer = send(recorder, "DELETE", &path, body).await?;
        recorder.note(
            &format!("protobuf: deletion with {name}"),
            json!([answer.refusal(), answer.at("/status")]),
        )?;
    }
    Ok(())
}

/// `runtime.Unknown`.
fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [text(1, api_version), text(2, kind)].concat();
    [b"k8s\0".to_vec(), message(1, &types), message(2, raw)].concat()
}

fn text(field: u32, content: &str) -> Vec<u8> {
    message(field, content.as_bytes())
}

/// Encodes a length-delimited field, whose number and length can have two bytes.
fn message(field: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    for number in [field << 3 | 2, length] {
        let mut rest = number;
        while rest > 0x7f {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(content);
    bytes
}
