//! `approve`: one pass over the pending requests.

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use serde_json::Value;

use super::command::{APPROVE, DENY, Ran, WAIT, admin, ask_for};
use crate::BINARY;
use crate::cases::test_cluster::TestCluster;
use control_plane::assets::Assets;
use control_plane::kubelet_port::request;
use control_plane::node_user::{NewRequest, condition, has_no_conditions, issued};

async fn read(test_cluster: &TestCluster, name: &str) -> Result<CertificateSigningRequest> {
    let api: Api<CertificateSigningRequest> = Api::all(test_cluster.admin.clone());
    Ok(api.get(name).await?)
}

async fn untouched(test_cluster: &TestCluster, names: &[&str]) -> Result<()> {
    for name in names {
        ensure!(
            has_no_conditions(&read(test_cluster, name).await?),
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
    let test_cluster = TestCluster::new(&assets).await?;
    admin(&test_cluster, &["approve"])
        .await?
        .exits(APPROVE)?
        .says(&["Nothing is pending."])?;
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    let two = test_cluster.node("worker-2", &["10.0.0.2"]).await?;
    let three = test_cluster.node("worker-3", &["10.0.0.3"]).await?;
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

    admin(&test_cluster, &["approve", "--dry-run"]).await?.exits(DENY)?.says(&[
        "ACTION REQUEST NODE AGE NAMES OR REASON",
        "approve proven worker-1",
        "leave early worker-2",
        "leave forged worker-3",
        "1 to approve, 0 to deny, 2 to leave (1 would be denied with --deny); nothing is written",
    ])?;
    let unattended = admin(&test_cluster, &["approve"]).await?;
    unattended.fails(&["expected --yes or --dry-run, since standard input is not a terminal"])?;
    admin(&test_cluster, &["approve", "--yes", "nowhere"])
        .await?
        .fails(&["there is no request `nowhere`"])?;
    untouched(&test_cluster, &all).await?;

    // By name only this request, and without a name only the proven ones.
    let ran = admin(&test_cluster, &["approve", "--yes", "early", "-o", "json"]).await?;
    let output = ran.exits(WAIT)?.json("approve")?;
    ensure!(written(&output, "early").is_none(), "{output}");
    let ran = admin(&test_cluster, &["approve", "--yes", "-o", "json"]).await?;
    let output = ran.exits(DENY)?.json("approve")?;
    ensure!(
        written(&output, "proven").as_deref() == Some("Approved"),
        "{output}"
    );
    issued(&test_cluster.admin, "proven").await?;
    let approved = read(&test_cluster, "proven").await?;
    let message = condition(&approved, "Approved").and_then(|one| one.message.clone());
    let message = message.context("message")?;
    ensure!(
        message.contains("IP:10.0.0.1 (InternalIP of Node worker-1)"),
        "{message}"
    );
    untouched(&test_cluster, &["early", "forged"]).await?;
    admin(&test_cluster, &["approve", "--yes", "proven"])
        .await?
        .fails(&["expected a pending request, found `proven`, which is issued"])?;
    // A request that was decided meanwhile does not stop the others.
    ask_for(&one, "also", "10.0.0.1", &[], &[]).await?;
    admin(
        &test_cluster,
        &["approve", "--yes", "csr/proven", "csr/also"],
    )
    .await?
    .exits(WAIT)?
    .says(&["leave proven", "RequestSettled", "Approved also"])?;
    issued(&test_cluster.admin, "also").await?;

    // A denial is written only if requested.
    admin(&test_cluster, &["approve", "--yes", "--deny"])
        .await?
        .exits(DENY)?
        .says(&["0 to approve, 1 to deny, 1 to leave", "Denied forged"])?;
    let denied = read(&test_cluster, "forged").await?;
    ensure!(
        condition(&denied, "Denied").is_some(),
        "{:?}",
        denied.status
    );
    admin(&test_cluster, &["status"])
        .await?
        .exits(APPROVE)?
        .says(&["worker-3 forged Denied", "SanClusterName"])?;

    // Addresses that must have been reported for some time are checked again after that.
    let patient = test_cluster.cluster.dir().join("patient.yaml");
    let policy = include_str!("../../../../policies/default.yaml");
    let policy = policy.replace("addressesStableFor: 0s", "addressesStableFor: 1s");
    std::fs::write(&patient, policy)?;
    let patient = patient.to_str().context("path")?;
    ask_for(&one, "patient", "10.0.0.1", &[], &[]).await?;
    let flags = ["--policy", patient];
    let seen = admin(
        &test_cluster,
        &[&["explain", "patient"], &flags[..]].concat(),
    )
    .await?;
    seen.exits(WAIT)?.says(&["NodeAddressesUnstable"])?;
    let ran = admin(
        &test_cluster,
        &[&["approve", "--yes", "patient"], &flags[..]].concat(),
    )
    .await?;
    ensure!(ran.stderr.contains("are unchanged for 1s"), "{ran:#?}");
    ran.exits(APPROVE)?.says(&["Approved patient"])?;

    // Two nodes with the same key in one pass: the first gets the certificate.
    let (pem, key) = request("worker-1", &["worker-1"], &["10.0.0.1".parse()?])?;
    one.post(&NewRequest::new("a-first", pem)).await?;
    let pem = same_key(&key)?;
    two.post(&NewRequest::new("b-second", pem)).await?;
    let names = ["approve", "--yes", "a-first", "b-second"];
    admin(&test_cluster, &names)
        .await?
        .exits(DENY)?
        .says(&["Approved a-first", "KeyOfAnotherNode"])?;
    untouched(&test_cluster, &["b-second"]).await
}

/// Creates a request of worker-2 with the key of another node.
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

/// On a terminal there is a prompt, and the typed answer counts.
pub async fn asks(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    let no = answer_prompt(&test_cluster, "n\n").await?;
    ensure!(
        no.code == 2 && no.stdout.contains("Approve 1? [y/N]"),
        "{no:#?}"
    );
    ensure!(
        no.stdout.contains("csr-warden: nothing was written"),
        "{no:#?}"
    );
    untouched(&test_cluster, &["proven"]).await?;
    let yes = answer_prompt(&test_cluster, "y\n").await?;
    ensure!(
        yes.code == 0 && yes.stdout.contains("Approved  proven"),
        "{yes:#?}"
    );
    issued(&test_cluster.admin, "proven").await?;
    Ok(())
}

/// Runs `approve` on a terminal of its own, with this text as input.
async fn answer_prompt(test_cluster: &TestCluster, text: &str) -> Result<Ran> {
    let kubeconfig = test_cluster.cluster.admin_kubeconfig().display();
    let command = format!("'{BINARY}' approve --kubeconfig '{kubeconfig}'");
    let input = test_cluster.cluster.dir().join("typed");
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
