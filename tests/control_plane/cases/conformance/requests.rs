//! CertificateSigningRequests: validation, approval, and immutable fields.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::exchange::{Answer, CSRS, MERGE, Recorder};
use super::lists::without_ages;
use crate::cases::forgery::{Attacker, Forgery};
use control_plane::pki;
use testkit::forge::fixture::Fixture;

const SERVING: &str = "kubernetes.io/kubelet-serving";

pub async fn observe(recorder: &mut Recorder<'_>) -> Result<()> {
    names(recorder).await?;
    asking(recorder).await?;
    keys(recorder).await?;
    forgeries(recorder).await?;
    deciding(recorder).await?;
    issuing(recorder).await
}

/// Names that are no DNS-1123 subdomain, and the path at which the object of each is read.
async fn names(recorder: &mut Recorder<'_>) -> Result<()> {
    let pem = genuine("conf-1")?;
    for (name, path) in [
        ("a b", "a%20b"),
        ("x?y", "x%3Fy"),
        ("plain#f", "plain%23f"),
        ("a+b", "a+b"),
        ("esc\u{1b}\n", "esc%1B%0A"),
        ("é", "%C3%A9"),
        ("a/b", "a%2Fb"),
        ("a%b", "a%25b"),
        (".", "%2E"),
        ("..", "%2E%2E"),
    ] {
        let made = recorder.post("node", CSRS, &csr(name, &pem)).await?;
        recorder.note(
            &format!("names: `{}` is created", name.escape_debug()),
            json!(made.code),
        )?;
        if made.code != 201 {
            continue;
        }
        let read = recorder.get("admin", &format!("{CSRS}/{path}")).await?;
        recorder.note(
            &format!("names: `{path}` is read"),
            json!([read.code, read.at("/metadata/name")]),
        )?;
        // The path for a client that does not encode names.
        let cut = name.split(['?', '#']).next().unwrap_or_default();
        if cut != name {
            let other = recorder.get("admin", &format!("{CSRS}/{cut}")).await?;
            recorder.note(
                &format!("names: `{cut}` is another object"),
                json!(other.code),
            )?;
        }
        let gone = recorder.delete("admin", &format!("{CSRS}/{path}")).await?;
        recorder.note(&format!("names: `{path}` is deleted"), json!(gone.code))?;
    }
    Ok(())
}

fn csr(name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": ByteString(pem.as_bytes().to_vec()),
            "signerName": SERVING,
            "usages": ["digital signature", "server auth"],
        },
    })
}

fn genuine(node: &str) -> Result<String> {
    pki::request(&format!("system:node:{node}"), &["system:nodes"])
}

async fn asking(recorder: &mut Recorder<'_>) -> Result<()> {
    let pem = genuine("conf-1")?;
    let mut body = csr("conf-csr-1", &pem);
    body["spec"]["username"] = "somebody-else".into();
    body["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let made = recorder.post("node", CSRS, &body).await?;
    let mut groups = made
        .at("/spec/groups")
        .as_array()
        .cloned()
        .unwrap_or_default();
    groups.sort_by_key(Value::to_string);
    let credential = made.at("/spec/extra/authentication.kubernetes.io~1credential-id/0");
    let credential = credential.as_str().unwrap_or_default();
    recorder.note(
        "csr: who asks is written by the server, and nothing is decided",
        json!([
            made.parts(&[
                "/spec/username",
                "/spec/uid",
                "/status/conditions",
                "/spec/usages"
            ]),
            groups,
            credential.split('=').next(),
            credential.len(),
        ]),
    )?;
    let shapes: [(&str, Value); 7] = [
        ("csr: no usages", json!({"usages": []})),
        ("csr: an unknown usage", json!({"usages": ["surprise"]})),
        (
            "csr: a usage twice",
            json!({"usages": ["server auth", "server auth"]}),
        ),
        ("csr: no signer", json!({"signerName": ""})),
        (
            "csr: a signer without a domain",
            json!({"signerName": "serving"}),
        ),
        (
            "csr: the signer of old",
            json!({"signerName": "kubernetes.io/legacy-unknown"}),
        ),
        ("csr: for a minute", json!({"expirationSeconds": 60})),
    ];
    for (name, change) in shapes {
        let mut body = csr("conf-csr-x", &pem);
        for (key, value) in change.as_object().into_iter().flatten() {
            body["spec"][key] = value.clone();
        }
        let answer = recorder.post("admin", CSRS, &body).await?;
        recorder.note(name, answer.refusal())?;
    }
    let broken = pem.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for (name, pem) in [
        ("csr: nothing", String::new()),
        ("csr: another label", broken),
        ("csr: no PEM", "words".to_owned()),
    ] {
        let answer = recorder
            .post("admin", CSRS, &csr("conf-csr-x", &pem))
            .await?;
        recorder.note(name, answer.refusal())?;
    }
    let around = format!("words before\n{pem}words after\n");
    let answer = recorder
        .post("admin", CSRS, &csr("conf-csr-around", &around))
        .await?;
    recorder.note("csr: text around", answer.parts(&["/metadata/name"]))?;
    recorder
        .delete("admin", &format!("{CSRS}/conf-csr-around"))
        .await?;
    let mut masters = csr("conf-csr-x", &pki::request("jane", &["system:masters"])?);
    masters["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client".into();
    masters["spec"]["usages"] = json!(["client auth"]);
    let answer = recorder.post("admin", CSRS, &masters).await?;
    recorder.note("csr: an administrator's certificate", answer.refusal())?;
    let answer = recorder
        .post("node", CSRS, &csr("conf-csr-x", &genuine("conf-2")?))
        .await?;
    recorder.note("csr: a node asks as another", answer.refusal())?;
    let path = format!("{CSRS}/conf-csr-1");
    let change = json!({"spec": {"signerName": "example.com/x", "usages": ["client auth"]}});
    let answer = recorder.patch("admin", &path, MERGE, &change).await?;
    recorder.note(
        "csr: what was asked never changes",
        answer.parts(&["/spec/signerName", "/spec/usages"]),
    )?;
    for (name, signer) in [
        ("csr: by signer", "kubernetes.io%2Fkubelet-serving"),
        ("csr: by another signer", "example.com%2Fx"),
    ] {
        let query = format!("{CSRS}?fieldSelector=spec.signerName%3D{signer}");
        let list = recorder.get("admin", &query).await?;
        recorder.note(name, json!([list.code, list.names()]))?;
    }
    Ok(())
}

/// Requests with keys and signatures of every kind that openssl supports.
async fn keys(recorder: &mut Recorder<'_>) -> Result<()> {
    for fixture in Fixture::ALL {
        let answer = recorder
            .post(
                "admin",
                &format!("{CSRS}?dryRun=All"),
                &csr("conf-key", fixture.pem()),
            )
            .await?;
        recorder.note(&format!("csr: key {fixture:?}"), json!(answer.code))?;
    }
    Ok(())
}

/// The requests of `forgeries.yaml`, posted by an administrator, so that only their validation
/// matters.
async fn forgeries(recorder: &mut Recorder<'_>) -> Result<()> {
    let table: Vec<Forgery> = serde_saphyr::from_str(include_str!("../forgeries.yaml"))?;
    let attacker = Attacker {
        name: "conf-1".into(),
        address: "10.0.0.1".into(),
        client: recorder.client("admin")?,
    };
    let path = format!("{CSRS}?dryRun=All");
    for forgery in table.iter().filter(|forgery| forgery.claims.is_empty()) {
        let ask = forgery.ask("conf-forgery", &attacker)?;
        let mut body = csr("conf-forgery", &ask.pem);
        body["spec"]["usages"] = json!(ask.usages);
        body["spec"]["signerName"] = ask.signer.into();
        let answer = recorder.post("admin", &path, &body).await?;
        let name = format!("csr: forgery: {}", forgery.shape);
        recorder.note(&name, json!(answer.code))?;
    }
    Ok(())
}

async fn decide(recorder: &Recorder<'_>, user: &str, conditions: Value) -> Result<Answer> {
    let path = format!("{CSRS}/conf-csr-1");
    let mut body = recorder.get("admin", &path).await?.body;
    body["status"]["conditions"] = conditions;
    recorder.put(user, &format!("{path}/approval"), &body).await
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Conformance", "message": "a case"})
}

fn shown(answer: &Answer) -> Value {
    let conditions = answer.at("/status/conditions");
    let conditions = conditions.as_array().cloned().unwrap_or_default();
    let one = |condition: &Value| {
        let dated = ["lastUpdateTime", "lastTransitionTime"].map(|key| condition[key].is_string());
        json!([
            condition["type"],
            condition["status"],
            condition["reason"],
            dated
        ])
    };
    let conditions: Vec<Value> = conditions.iter().map(one).collect();
    json!([answer.code, conditions])
}

async fn deciding(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{CSRS}/conf-csr-1");
    for (name, conditions) in [
        (
            "approval: not True",
            json!([condition("Approved", "False")]),
        ),
        ("approval: without a status", json!([{"type": "Approved"}])),
        (
            "approval: both",
            json!([condition("Approved", "True"), condition("Denied", "True")]),
        ),
        (
            "approval: twice the same",
            json!([condition("Approved", "True"), condition("Approved", "True")]),
        ),
        ("approval: of no type", json!([condition("", "True")])),
    ] {
        let answer = decide(recorder, "admin", conditions).await?;
        recorder.note(name, answer.refusal())?;
    }
    let answer = decide(recorder, "node", json!([condition("Approved", "True")])).await?;
    recorder.note("approval: by the node itself", answer.refusal())?;
    let by_status = json!({"status": {"conditions": [condition("Approved", "True")]}});
    let answer = recorder
        .patch("admin", &format!("{path}/status"), MERGE, &by_status)
        .await?;
    recorder.note("approval: by /status", answer.refusal())?;
    let answer = recorder.patch("admin", &path, MERGE, &by_status).await?;
    recorder.note("approval: by the object", shown(&answer))?;

    let stale = recorder.get("admin", &path).await?.body;
    let answer = decide(recorder, "admin", json!([condition("Approved", "True")])).await?;
    recorder.note("approval: Approved, with times", shown(&answer))?;
    let mut again = stale;
    again["status"]["conditions"] = json!([condition("Denied", "True")]);
    let answer = recorder
        .put("admin", &format!("{path}/approval"), &again)
        .await?;
    recorder.note("approval: on an old version", answer.refusal())?;
    let answer = decide(recorder, "admin", json!([])).await?;
    recorder.note("approval: never taken back", answer.refusal())?;
    let answer = decide(
        recorder,
        "admin",
        json!([condition("Approved", "True"), condition("Denied", "True")]),
    )
    .await?;
    recorder.note("approval: Denied after Approved", answer.refusal())?;
    let now = recorder.get("admin", &path).await?;
    let answer = recorder
        .put("admin", &format!("{path}/approval"), &now.body)
        .await?;
    recorder.note(
        "approval: the same keeps the version",
        json!([answer.code, answer.version() == now.version()]),
    )?;
    let answer = recorder.get("admin", &format!("{path}/approval")).await?;
    recorder.note("approval: can be read", shown(&answer))?;
    let absent = recorder
        .put(
            "admin",
            &format!("{CSRS}/conf-none/approval"),
            &csr("conf-none", "x"),
        )
        .await?;
    recorder.note("approval: not there", absent.refusal())
}

async fn issuing(recorder: &mut Recorder<'_>) -> Result<()> {
    let path = format!("{CSRS}/conf-csr-1");
    let status = format!("{path}/status");
    let put = |text: &str| json!({"status": {"certificate": ByteString(text.as_bytes().to_vec())}});
    let answer = recorder
        .patch("admin", &status, MERGE, &put("words"))
        .await?;
    recorder.note("issue: no certificate", answer.refusal())?;
    let private = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let answer = recorder
        .patch("admin", &status, MERGE, &put(private))
        .await?;
    recorder.note("issue: a key", answer.refusal())?;
    let certificate = || -> Result<String> {
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec!["conf".to_owned()])?;
        Ok(params.self_signed(&key)?.pem())
    };
    let answer = recorder
        .patch(
            "admin",
            &format!("{path}/approval"),
            MERGE,
            &put(&certificate()?),
        )
        .await?;
    recorder.note(
        "issue: by /approval",
        json!([answer.code, answer.at("/status/certificate")]),
    )?;
    let answer = recorder
        .patch("admin", &status, MERGE, &put(&certificate()?))
        .await?;
    recorder.note(
        "issue: a certificate",
        json!([answer.code, answer.at("/status/certificate").is_string()]),
    )?;
    let answer = recorder
        .patch("admin", &status, MERGE, &put(&certificate()?))
        .await?;
    recorder.note("issue: another certificate", answer.refusal())?;
    let mut long = csr("conf-csr-2", &genuine("conf-1")?);
    long["spec"]["expirationSeconds"] = 86_400.into();
    recorder.post("node", CSRS, &long).await?;
    let table = recorder.table(CSRS).await?;
    let columns = table.at("/columnDefinitions");
    let columns = columns.as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = columns.iter().map(|column| &column["name"]).collect();
    recorder.note("table: the columns of requests", json!(names))?;
    recorder.note(
        "table: the cells of requests",
        json!(without_ages(&table.at("/rows"), 1)),
    )
}
