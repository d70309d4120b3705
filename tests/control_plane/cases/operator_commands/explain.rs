//! `explain`: the reason of a verdict, and the same verdict from saved files.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::command::{APPROVE, DENY, WAIT, admin, ask_for, codes, ran};
use crate::BINARY;
use crate::cases::external_sources::DnsServer;
use crate::cases::test_cluster::{SOON, TestCluster};
use control_plane::assets::Assets;
use control_plane::node_user::issued;
use control_plane::ports;

pub async fn explain(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    let two = test_cluster.node("worker-2", &["10.0.0.2"]).await?;
    ask_for(&one, "proven", "10.0.0.1", &[], &[]).await?;
    ask_for(&one, "early", "10.0.0.1", &[], &["10.0.0.9"]).await?;
    let api_server = &["kubernetes.default.svc"];
    ask_for(&two, "forged", "10.0.0.2", api_server, &["10.96.0.1"]).await?;
    ask_for(&two, "blind", "10.0.0.2", &["localhost"], &[]).await?;
    ask_for(&two, "denied", "10.0.0.2", &[], &[]).await?;
    test_cluster
        .cluster
        .kubectl(&["certificate", "approve", "blind"])
        .await?;
    test_cluster
        .cluster
        .kubectl(&["certificate", "deny", "denied"])
        .await?;
    issued(&test_cluster.admin, "blind").await?;

    admin(&test_cluster, &["explain", "proven"])
        .await?
        .exits(APPROVE)?
        .says(&[
            "The request is pending although this verdict is Approve.",
            "SanRecentlyProtected: identities that were protected within the last hour",
            "Approve proven system:node:worker-1",
            "IP:10.0.0.1 InternalIP of Node worker-1",
            "checked against 2 Nodes, 5 requests",
        ])?;
    admin(&test_cluster, &["explain", "early"])
        .await?
        .exits(WAIT)?
        .says(&[
            "SanNotOfNode: Wait (row 38)",
            "Changes when Node worker-1 gets it among its addresses.",
            "IP:10.0.0.9 no source vouches for it",
            "Known only to a running daemon:",
        ])?;
    admin(&test_cluster, &["explain", "forged"])
        .await?
        .exits(DENY)?
        .says(&[
            "SanServiceAddress: Deny (row 41)",
            "SanClusterName: Deny (row 49)",
            "Nothing can change this: the kubelet must send another request.",
        ])?;
    admin(&test_cluster, &["explain", "blind"])
        .await?
        .exits(WAIT)?
        .says(&[
            "RequestSettled: Ignore (row 2)",
            "(KubectlApprove)",
            "certificate until",
            "As a new request, today: Deny blind",
            "SanClusterName: Deny (row 49)",
        ])?;
    admin(&test_cluster, &["explain", "blind", "--as-new"])
        .await?
        .exits(DENY)?
        .says(&["Deny blind"])?;
    admin(&test_cluster, &["explain", "denied"])
        .await?
        .exits(WAIT)?
        .says(&["(KubectlDeny)", "As a new request, today: Approve denied"])?;
    admin(&test_cluster, &["explain", "nowhere"])
        .await?
        .fails(&["there is no CertificateSigningRequest `nowhere` (found 5"])?;

    for (request, code) in [
        ("proven", APPROVE),
        ("early", WAIT),
        ("forged", DENY),
        ("blind", WAIT),
        ("denied", WAIT),
    ] {
        for flags in [&[][..], &["--as-new"], &["--policy", "strict"]] {
            let name = format!("{request}{}", flags.join(""));
            let explained = repeats(&test_cluster, request, &name, flags)
                .await
                .context(name.clone())?;
            ensure!(!flags.is_empty() || explained.0 == code, "{explained:?}");
        }
    }
    // Existing files are kept.
    let dir = test_cluster.cluster.dir().join("saved-proven");
    let dir = dir.to_str().context("path")?;
    admin(&test_cluster, &["explain", "proven", "--save", dir])
        .await?
        .fails(&["expected an empty or new folder"])
}

/// Policies with external sources that respond, are silent or are missing. Their answers are saved
/// too.
pub async fn sources(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let dir = test_cluster.cluster.dir();
    let one = test_cluster.node("worker-1", &["10.0.0.1"]).await?;
    ask_for(&one, "asked", "10.0.0.1", &[], &[]).await?;
    let [closed] = ports::free::<1>()?;
    let file = |name: &str, value: Value| -> Result<String> {
        let path = dir.join(name);
        std::fs::write(&path, value.to_string())?;
        Ok(path.to_str().context("path")?.to_owned())
    };
    let policy = |sources: Value, proof: Value| {
        json!({
            "apiVersion": "csr-warden.dev/v1beta1",
            "kind": "Policy",
            "metadata": {"name": "asking"},
            "spec": {"sources": sources, "proof": proof},
        })
    };
    let dns = |server: SocketAddr| {
        let dns = json!({"dns": {
            "servers": [server.to_string()],
            "suffixes": ["nodes.example"],
            "timeout": "1s",
            "reverse": "Required",
        }});
        policy(dns, json!({"ipAddresses": {"allOf": ["DNS"]}}))
    };
    let unreachable = (Ipv4Addr::LOCALHOST, closed).into();
    let by_dns = file("dns.yaml", dns(unreachable))?;
    // From the name to the address and back: the second query depends on the first answer.
    let server = DnsServer::start(dir)?;
    let by_real_dns = file("real-dns.yaml", dns(server.address))?;
    beyond(&test_cluster, &by_real_dns, "SourceUnready").await?;
    server.knows("10.0.0.1 worker-1.nodes.example\n")?;
    beyond(&test_cluster, &by_real_dns, "SanUncorroborated").await?;
    let shown = json!({"servingCertificate": {"port": closed, "timeout": "1s"}});
    let by_certificate = file(
        "certificate.yaml",
        policy(
            shown,
            json!({"nodeName": {"anyOf": ["Inventory", "ServingCertificate"]}}),
        ),
    )?;
    let inventory = |address: &str| {
        json!({
            "apiVersion": "csr-warden.dev/v1beta1",
            "kind": "Inventory",
            "nodes": [{"name": "worker-1", "addresses": [address]}],
        })
    };
    let good = file("good.yaml", inventory("10.0.0.1"))?;
    let other = file("other.yaml", inventory("10.0.0.7"))?;
    let mut of_another = inventory("10.0.0.9");
    of_another["nodes"][0]["name"] = json!("worker-9");
    let of_another = file("of-another.yaml", of_another)?;

    for (name, code, expected, flags) in [
        (
            "good",
            APPROVE,
            None,
            vec!["--policy", "inventory", "--inventory", &good],
        ),
        (
            "other",
            DENY,
            Some("SanContradicted"),
            vec!["--policy", "inventory", "--inventory", &other],
        ),
        (
            "none",
            WAIT,
            Some("SanUncorroborated"),
            vec!["--policy", "inventory"],
        ),
        ("real-dns", APPROVE, None, vec!["--policy", &by_real_dns]),
        (
            "dns",
            WAIT,
            Some("SourceUnready"),
            vec!["--policy", &by_dns],
        ),
        (
            "certificate",
            WAIT,
            Some("SanUncorroborated"),
            vec!["--policy", &by_certificate, "--inventory", &of_another],
        ),
        (
            "machines",
            WAIT,
            Some("SourceUnready"),
            vec!["--policy", "cluster-api"],
        ),
    ] {
        let (found, explained) = repeats(&test_cluster, "asked", name, &flags)
            .await
            .context(name)?;
        ensure!(found == code, "{name}: {explained}");
        let codes = codes(&explained);
        ensure!(codes.first().copied() == expected, "{name}: {codes:?}");
    }
    Ok(())
}

/// Waits until DNS no longer leads to this code.
async fn beyond(test_cluster: &TestCluster, policy: &str, code: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let ran = admin(test_cluster, &["explain", "asked", "--policy", policy]).await?;
        if !ran.stdout.contains(code) {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "{ran:#?}");
    }
}

/// Explains and saves. The command in the saved README must give the same verdict. Returns the exit
/// code and the explanation.
async fn repeats(
    test_cluster: &TestCluster,
    request: &str,
    name: &str,
    flags: &[&str],
) -> Result<(i32, Value)> {
    let dir = test_cluster.cluster.dir().join(format!("saved-{name}"));
    let folder = dir.to_str().context("path")?;
    let args = ["explain", request, "--save", folder, "-o", "json"];
    let explained = admin(test_cluster, &[&args[..], flags].concat()).await?;
    let value = explained.json("explain")?;
    let checked = check(&dir).await?;
    let again = checked.json("check")?;
    ensure!(
        checked.code == explained.code,
        "{checked:#?} {explained:#?}"
    );
    for field in [
        "request",
        "requestor",
        "verdict",
        "sans",
        "policy",
        "policyDigest",
    ] {
        ensure!(again[field] == value[field], "{field}: {again} {value}");
    }
    let findings = |of: &Value| {
        let mut findings = of["findings"].clone();
        for finding in findings.as_array_mut().into_iter().flatten() {
            finding
                .as_object_mut()
                .map(|fields| fields.remove("remedy"));
        }
        findings
    };
    ensure!(findings(&again) == findings(&value), "{again}\n{value}");
    // A missing file is reported: an inventory that the policy needs and that was not given.
    let absent = again["missingSources"] == json!(["inventory"]) && !flags.contains(&"--inventory");
    ensure!(absent || again["missingSources"] == json!([]), "{again}");
    let facts = std::fs::read_to_string(dir.join("facts.yaml"))?;
    let facts: Value = serde_saphyr::from_str(&facts)?;
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/facts.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema)?)?;
    let validator = jsonschema::validator_for(&schema)?;
    ensure!(validator.is_valid(&facts), "{facts}");
    Ok((explained.code, value))
}

/// Runs the command in the README of this directory.
async fn check(dir: &Path) -> Result<super::command::Ran> {
    let readme = std::fs::read_to_string(dir.join("README.md"))?;
    let line = readme
        .lines()
        .find_map(|line| line.strip_prefix("csr-warden "))
        .context("no command")?;
    let mut command = Command::new(BINARY);
    command
        .args(line.split(' '))
        .args(["-o", "json"])
        .current_dir(dir);
    ran(command).await
}
