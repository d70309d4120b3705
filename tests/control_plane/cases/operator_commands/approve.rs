//! One pass over what is pending.

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use serde_json::Value;

use super::command::{APPROVE, DENY, Ran, WAIT, admin, ask_for};
use crate::BINARY;
use crate::cases::node_user_cluster::Scene;
use control_plane::assets::Assets;
use control_plane::kubelet_port::request;
use control_plane::node_user::{Ask, condition, is_untouched, issued};

async fn read(scene: &Scene, name: &str) -> Result<CertificateSigningRequest> {
    let api: Api<CertificateSigningRequest> = Api::all(scene.admin.clone());
    Ok(api.get(name).await?)
}

async fn untouched(scene: &Scene, names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(
            is_untouched(&read(scene, name).await?),
            "{name} was written to"
        );
    }
    Ok(())
}

fn written(output: &Value, name: &str) -> Option<String> {
    let mut items = output["items"].as_array()?.iter();
    let item = items.find(|item| item["request"] == name)?;
    item["written"].as_str().map(str::to_owned)
}

pub async fn approve(assets: Arc<Assets>) -> Result<()> {
    let scene = Scene::new(&assets).await?;
    admin(&scene, &["approve"])
        .await?
        .exits(APPROVE)?
        .says(&["Nothing is pending."])?;
    let one = scene.node("worker-1", &["10.0.0.1"]).await?;
    let two = scene.node("worker-2", &["10.0.0.2"]).await?;
    let three = scene.node("worker-3", &["10.0.0.3"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    ask_for(&two, "early", "10.0.0.2", &[], &["10.0.0.9"]).await?;
    ask_for(
        &three,
        "forged",
        "10.0.0.3",
        &["kubernetes.default.svc"],
        &[],
    )
    .await?;
    let all = ["proven", "early", "forged"];

    admin(&scene, &["approve", "--dry-run"]).await?.exits(DENY)?.says(&[
        "ACTION REQUEST NODE AGE NAMES OR REASON",
        "approve proven worker-1",
        "leave early worker-2",
        "leave forged worker-3",
        "1 to approve, 0 to deny, 2 to leave (1 would be denied with --deny); nothing is written",
    ])?;
    let nobody = admin(&scene, &["approve"]).await?;
    nobody.fails(&["expected --yes or --dry-run, since there is nobody to ask"])?;
    admin(&scene, &["approve", "--yes", "nowhere"])
        .await?
        .fails(&["there is no request `nowhere`"])?;
    untouched(&scene, &all).await?;

    // By name only that one, and by the whole pass only what is proven.
    let ran = admin(&scene, &["approve", "--yes", "early", "-o", "json"]).await?;
    let output = ran.exits(WAIT)?.json("approve")?;
    ensure!(written(&output, "early").is_none(), "{output}");
    let ran = admin(&scene, &["approve", "--yes", "-o", "json"]).await?;
    let output = ran.exits(DENY)?.json("approve")?;
    ensure!(
        written(&output, "proven").as_deref() == Some("Approved"),
        "{output}"
    );
    issued(&scene.admin, "proven").await?;
    let approved = read(&scene, "proven").await?;
    let message = condition(&approved, "Approved").and_then(|one| one.message.clone());
    let message = message.context("message")?;
    ensure!(
        message.contains("IP:10.0.0.1 (InternalIP of Node worker-1)"),
        "{message}"
    );
    untouched(&scene, &["early", "forged"]).await?;
    admin(&scene, &["approve", "--yes", "proven"])
        .await?
        .fails(&["request `proven` is issued already"])?;
    // What was decided meanwhile keeps nobody from the rest.
    ask_for(&one, "also", "10.0.0.1", &[], &[]).await?;
    admin(&scene, &["approve", "--yes", "csr/proven", "csr/also"])
        .await?
        .exits(WAIT)?
        .says(&["leave proven", "RequestSettled", "Approved also"])?;
    issued(&scene.admin, "also").await?;

    // A denial is written if it is asked for.
    admin(&scene, &["approve", "--yes", "--deny"])
        .await?
        .exits(DENY)?
        .says(&["0 to approve, 1 to deny, 1 to leave", "Denied forged"])?;
    let denied = read(&scene, "forged").await?;
    ensure!(
        condition(&denied, "Denied").is_some(),
        "{:?}",
        denied.status
    );
    admin(&scene, &["status"])
        .await?
        .exits(APPROVE)?
        .says(&["worker-3 forged Denied", "SanClusterName"])?;

    // Addresses that must have stood for a moment are looked at again after that.
    let patient = scene.cluster.dir().join("patient.yaml");
    let policy = include_str!("../../../../policies/default.yaml");
    let policy = policy.replace("addressesStableFor: 0s", "addressesStableFor: 1s");
    std::fs::write(&patient, policy)?;
    let patient = patient.to_str().context("path")?;
    ask_for(&one, "patient", "10.0.0.1", &[], &[]).await?;
    let flags = ["--policy", patient];
    let seen = admin(&scene, &[&["explain", "patient"], &flags[..]].concat()).await?;
    seen.exits(WAIT)?.says(&["NodeAddressesUnstable"])?;
    let ran = admin(
        &scene,
        &[&["approve", "--yes", "patient"], &flags[..]].concat(),
    )
    .await?;
    ensure!(ran.stderr.contains("have stood for 1s"), "{ran:#?}");
    ran.exits(APPROVE)?.says(&["Approved patient"])?;

    // Two nodes with one key in one pass: the first gets it.
    let (pem, key) = request("worker-1", &["worker-1"], &["10.0.0.1".parse()?])?;
    one.post(&Ask::new("a-first", pem)).await?;
    let pem = same_key(&key)?;
    two.post(&Ask::new("b-second", pem)).await?;
    let names = ["approve", "--yes", "a-first", "b-second"];
    admin(&scene, &names)
        .await?
        .exits(DENY)?
        .says(&["Approved a-first", "KeyOfAnotherNode"])?;
    untouched(&scene, &["b-second"]).await
}

/// A request of worker-2 with a key that another has.
fn same_key(key: &str) -> Result<String> {
    use rcgen::{DnType, DnValue, SanType};
    let key = rcgen::KeyPair::from_pem(key)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, text) in [
        (DnType::OrganizationName, "system:nodes"),
        (DnType::CommonName, "system:node:worker-2"),
    ] {
        let value = DnValue::PrintableString(text.try_into()?);
        params.distinguished_name.push(kind, value);
    }
    params.subject_alt_names = vec![
        SanType::DnsName("worker-2".try_into()?),
        SanType::IpAddress("10.0.0.2".parse()?),
    ];
    Ok(params.serialize_request(&key)?.pem()?)
}

/// On a terminal a person is asked, and what is typed counts.
pub async fn asks(assets: Arc<Assets>) -> Result<()> {
    let scene = Scene::new(&assets).await?;
    let one = scene.node("worker-1", &["10.0.0.1"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    let no = typed(&scene, "n\n").await?;
    ensure!(
        no.code == 2 && no.stdout.contains("Approve 1? [y/N]"),
        "{no:#?}"
    );
    ensure!(
        no.stdout.contains("csr-warden: nothing was written"),
        "{no:#?}"
    );
    untouched(&scene, &["proven"]).await?;
    let yes = typed(&scene, "y\n").await?;
    ensure!(
        yes.code == 0 && yes.stdout.contains("Approved  proven"),
        "{yes:#?}"
    );
    issued(&scene.admin, "proven").await?;
    Ok(())
}

/// Runs `approve` on a terminal of its own, in which this is typed.
async fn typed(scene: &Scene, text: &str) -> Result<Ran> {
    let kubeconfig = scene.cluster.admin_kubeconfig().display();
    let command = format!("'{BINARY}' approve --kubeconfig '{kubeconfig}'");
    let input = scene.cluster.dir().join("typed");
    std::fs::write(&input, text)?;
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::from(std::fs::File::open(input)?));
    let output = tokio::task::spawn_blocking(move || script.output()).await??;
    Ok(Ran {
        code: output.status.code().context("code")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
