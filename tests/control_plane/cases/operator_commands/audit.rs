//! `audit`: approved requests are judged again, and the certificates on kubelet ports are checked.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::command::{APPROVE, DENY, admin, codes};
use crate::cases::test_cluster::TestCluster;
use control_plane::assets::Assets;
use control_plane::kubelet_port::KubeletPort;
use control_plane::netns;

const PORT: u16 = 10_250;

pub async fn audit(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let ips = [30, 31, 32, 33].map(|last| Ipv4Addr::new(10, 77, 0, last));
    let [one, two, three, four] = ips;
    for ip in ips {
        netns::add(ip)?;
    }
    let honest = test_cluster.node("worker-1", &[&one.to_string()]).await?;
    let liar = test_cluster.node("worker-2", &[&two.to_string()]).await?;
    test_cluster.node("worker-3", &[&three.to_string()]).await?;
    test_cluster.node("worker-4", &[&four.to_string()]).await?;

    let good = test_cluster
        .certificate(&honest, "good", &["worker-1"], &[one])
        .await?;
    admin(&test_cluster, &["audit"])
        .await?
        .exits(APPROVE)?
        .says(&["Approved: 1. By policy default today 0 would be denied"])?;
    let names = ["worker-2", "kubernetes.default.svc"];
    let forged = test_cluster
        .certificate(&liar, "forged", &names, &[two])
        .await?;
    let ran = admin(&test_cluster, &["audit"]).await?.exits(DENY)?.says(&[
        "VERDICT NODE REQUEST APPROVED BY AGE REASON",
        "Deny worker-2 forged KubectlApprove",
        "Approve worker-1 good KubectlApprove",
        "Approved: 2. By policy default today 1 would be denied, 0 would wait and 1 would be approved.",
    ])?;
    ensure!(
        ran.stdout
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("Deny"))
    );
    let ran = admin(&test_cluster, &["audit", "-o", "json"]).await?;
    let audited = ran.exits(DENY)?.json("audit")?;
    let first = &audited["items"][0];
    ensure!(codes(first).contains(&"SanClusterName"), "{audited}");
    ensure!(first["approved"]["reason"] == "KubectlApprove", "{audited}");
    ensure!(
        first["certificate"]["sans"][1] == "DNS:kubernetes.default.svc",
        "{audited}"
    );

    // The requests are deleted, and their certificates are in use.
    test_cluster
        .cluster
        .kubectl(&["delete", "csr", "--all"])
        .await?;
    let port = |ip: Ipv4Addr| (ip, PORT).into();
    let _good = KubeletPort::start(port(one), &good.0, &good.1, true).await?;
    let _forged = KubeletPort::start(port(two), &forged.0, &forged.1, true).await?;
    // The certificate of another node, and one that is not signed by the cluster.
    let _moved = KubeletPort::start(port(three), &good.0, &good.1, true).await?;
    let own = rcgen::generate_simple_self_signed(["worker-4".to_owned()])?;
    let own_key = own.signing_key.serialize_pem();
    let _own = KubeletPort::start(port(four), own.cert.pem().as_bytes(), &own_key, true).await?;
    let ran = admin(&test_cluster, &["audit", "--dial", "-o", "json"]).await?;
    let audited = ran.exits(DENY)?.json("audit")?;
    let of = |node: &str| -> Result<&Value> {
        let mut items = audited["items"].as_array().context("items")?.iter();
        items.find(|item| item["node"] == node).context("node")
    };
    ensure!(of("worker-1")?["verdict"] == "Approve", "{audited}");
    ensure!(
        of("worker-1")?["address"] == format!("{one}:{PORT}"),
        "{audited}"
    );
    ensure!(
        codes(of("worker-2")?).contains(&"SanClusterName"),
        "{audited}"
    );
    ensure!(
        codes(of("worker-3")?).contains(&"CommonNameMismatch"),
        "{audited}"
    );
    ensure!(of("worker-4")?["verdict"] == json!(null), "{audited}");
    let note = of("worker-4")?["note"].as_str().unwrap_or_default();
    ensure!(
        note.starts_with("not signed by the cluster's CA"),
        "{audited}"
    );
    admin(&test_cluster, &["audit", "--dial"])
        .await?
        .exits(DENY)?
        .says(&[
            "Deny worker-2 10.77.0.31:10250 <none> <none> SanClusterName +1",
            "Checked: 4. By policy default today 2 would be denied",
        ])?;
    Ok(())
}
