//! Certificate signing requests: what may be asked, who decides, and what never changes.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::exchange::{Answer, CSRS, MERGE, Record};
use super::lists::without_ages;
use crate::cases::forgery::{Attacker, Forgery};
use control_plane::pki;
use testkit::forge::fixture::Fixture;

const SERVING: &str = "kubernetes.io/kubelet-serving";

pub async fn observe(record: &mut Record<'_>) -> Result<()> {
    asking(record).await?;
    keys(record).await?;
    forgeries(record).await?;
    deciding(record).await?;
    issuing(record).await
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

async fn asking(record: &mut Record<'_>) -> Result<()> {
    let pem = genuine("conf-1")?;
    let mut body = csr("conf-csr-1", &pem);
    body["spec"]["username"] = "somebody-else".into();
    body["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let made = record.post("node", CSRS, &body).await?;
    let mut groups = made
        .at("/spec/groups")
        .as_array()
        .cloned()
        .unwrap_or_default();
    groups.sort_by_key(Value::to_string);
    let credential = made.at("/spec/extra/authentication.kubernetes.io~1credential-id/0");
    let credential = credential.as_str().unwrap_or_default();
    record.note(
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
        let answer = record.post("admin", CSRS, &body).await?;
        record.note(name, answer.refusal())?;
    }
    let broken = pem.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for (name, pem) in [
        ("csr: nothing", String::new()),
        ("csr: another label", broken),
        ("csr: no PEM", "words".to_owned()),
    ] {
        let answer = record.post("admin", CSRS, &csr("conf-csr-x", &pem)).await?;
        record.note(name, answer.refusal())?;
    }
    let around = format!("words before\n{pem}words after\n");
    let answer = record
        .post("admin", CSRS, &csr("conf-csr-around", &around))
        .await?;
    record.note("csr: text around", answer.parts(&["/metadata/name"]))?;
    record
        .delete("admin", &format!("{CSRS}/conf-csr-around"))
        .await?;
    let mut masters = csr("conf-csr-x", &pki::request("jane", &["system:masters"])?);
    masters["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client".into();
    masters["spec"]["usages"] = json!(["client auth"]);
    let answer = record.post("admin", CSRS, &masters).await?;
    record.note("csr: an administrator's certificate", answer.refusal())?;
    let answer = record
        .post("node", CSRS, &csr("conf-csr-x", &genuine("conf-2")?))
        .await?;
    record.note("csr: a node asks as another", answer.refusal())?;
    let path = format!("{CSRS}/conf-csr-1");
    let change = json!({"spec": {"signerName": "example.com/x", "usages": ["client auth"]}});
    let answer = record.patch("admin", &path, MERGE, &change).await?;
    record.note(
        "csr: what was asked never changes",
        answer.parts(&["/spec/signerName", "/spec/usages"]),
    )?;
    for (name, signer) in [
        ("csr: by signer", "kubernetes.io%2Fkubelet-serving"),
        ("csr: by another signer", "example.com%2Fx"),
    ] {
        let query = format!("{CSRS}?fieldSelector=spec.signerName%3D{signer}");
        let list = record.get("admin", &query).await?;
        record.note(name, json!([list.code, list.names()]))?;
    }
    Ok(())
}

/// Requests with keys and signatures of every kind that openssl can make.
async fn keys(record: &mut Record<'_>) -> Result<()> {
    for fixture in Fixture::ALL {
        let answer = record
            .post(
                "admin",
                &format!("{CSRS}?dryRun=All"),
                &csr("conf-key", fixture.pem()),
            )
            .await?;
        record.note(&format!("csr: key {fixture:?}"), json!(answer.code))?;
    }
    Ok(())
}

/// The requests of `forgeries.yaml`, posted by an administrator, so that only the reading of them counts.
async fn forgeries(record: &mut Record<'_>) -> Result<()> {
    let table: Vec<Forgery> = serde_saphyr::from_str(include_str!("../forgeries.yaml"))?;
    let attacker = Attacker {
        name: "conf-1".into(),
        address: "10.0.0.1".into(),
        client: record.client("admin")?,
    };
    let path = format!("{CSRS}?dryRun=All");
    for forgery in table.iter().filter(|forgery| forgery.claims.is_empty()) {
        let ask = forgery.ask("conf-forgery", &attacker)?;
        let mut body = csr("conf-forgery", &ask.pem);
        body["spec"]["usages"] = json!(ask.usages);
        body["spec"]["signerName"] = ask.signer.into();
        let answer = record.post("admin", &path, &body).await?;
        let name = format!("csr: forgery: {}", forgery.shape);
        record.note(&name, json!(answer.code))?;
    }
    Ok(())
}

async fn decide(record: &Record<'_>, user: &str, conditions: Value) -> Result<Answer> {
    let path = format!("{CSRS}/conf-csr-1");
    let mut body = record.get("admin", &path).await?.body;
    body["status"]["conditions"] = conditions;
    record.put(user, &format!("{path}/approval"), &body).await
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

async fn deciding(record: &mut Record<'_>) -> Result<()> {
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
        let answer = decide(record, "admin", conditions).await?;
        record.note(name, answer.refusal())?;
    }
    let answer = decide(record, "node", json!([condition("Approved", "True")])).await?;
    record.note("approval: by the node itself", answer.refusal())?;
    let by_status = json!({"status": {"conditions": [condition("Approved", "True")]}});
    let answer = record
        .patch("admin", &format!("{path}/status"), MERGE, &by_status)
        .await?;
    record.note("approval: by /status", answer.refusal())?;
    let answer = record.patch("admin", &path, MERGE, &by_status).await?;
    record.note("approval: by the object", shown(&answer))?;

    let stale = record.get("admin", &path).await?.body;
    let answer = decide(record, "admin", json!([condition("Approved", "True")])).await?;
    record.note("approval: Approved, with times", shown(&answer))?;
    let mut again = stale;
    again["status"]["conditions"] = json!([condition("Denied", "True")]);
    let answer = record
        .put("admin", &format!("{path}/approval"), &again)
        .await?;
    record.note("approval: on an old version", answer.refusal())?;
    let answer = decide(record, "admin", json!([])).await?;
    record.note("approval: never taken back", answer.refusal())?;
    let answer = decide(
        record,
        "admin",
        json!([condition("Approved", "True"), condition("Denied", "True")]),
    )
    .await?;
    record.note("approval: Denied after Approved", answer.refusal())?;
    let now = record.get("admin", &path).await?;
    let answer = record
        .put("admin", &format!("{path}/approval"), &now.body)
        .await?;
    record.note(
        "approval: the same keeps the version",
        json!([answer.code, answer.version() == now.version()]),
    )?;
    let answer = record.get("admin", &format!("{path}/approval")).await?;
    record.note("approval: can be read", shown(&answer))?;
    let absent = record
        .put(
            "admin",
            &format!("{CSRS}/conf-none/approval"),
            &csr("conf-none", "x"),
        )
        .await?;
    record.note("approval: not there", absent.refusal())
}

async fn issuing(record: &mut Record<'_>) -> Result<()> {
    let path = format!("{CSRS}/conf-csr-1");
    let status = format!("{path}/status");
    let put = |text: &str| json!({"status": {"certificate": ByteString(text.as_bytes().to_vec())}});
    let answer = record.patch("admin", &status, MERGE, &put("words")).await?;
    record.note("issue: no certificate", answer.refusal())?;
    let private = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let answer = record.patch("admin", &status, MERGE, &put(private)).await?;
    record.note("issue: a key", answer.refusal())?;
    let certificate = || -> Result<String> {
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec!["conf".to_owned()])?;
        Ok(params.self_signed(&key)?.pem())
    };
    let answer = record
        .patch(
            "admin",
            &format!("{path}/approval"),
            MERGE,
            &put(&certificate()?),
        )
        .await?;
    record.note(
        "issue: by /approval",
        json!([answer.code, answer.at("/status/certificate")]),
    )?;
    let answer = record
        .patch("admin", &status, MERGE, &put(&certificate()?))
        .await?;
    record.note(
        "issue: a certificate",
        json!([answer.code, answer.at("/status/certificate").is_string()]),
    )?;
    let answer = record
        .patch("admin", &status, MERGE, &put(&certificate()?))
        .await?;
    record.note("issue: another certificate", answer.refusal())?;
    let mut long = csr("conf-csr-2", &genuine("conf-1")?);
    long["spec"]["expirationSeconds"] = 86_400.into();
    record.post("node", CSRS, &long).await?;
    let table = record.table(CSRS).await?;
    let columns = table.at("/columnDefinitions");
    let columns = columns.as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = columns.iter().map(|column| &column["name"]).collect();
    record.note("table: the columns of requests", json!(names))?;
    record.note(
        "table: the cells of requests",
        json!(without_ages(&table.at("/rows"), 1)),
    )
}
