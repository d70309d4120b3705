//! Standard output of the daemon that is not read.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use control_plane::POLL_INTERVAL;
use control_plane::daemon::Daemon;
use control_plane::decision_log::{self, Decision};
use control_plane::output::{Output, Pace};
use k8s_openapi::ByteString;
use kube::Client;
use lab::request::Template;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, run_scenario};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};

const SOON: Duration = Duration::from_secs(60);
/// The number of requests of the node that changes all the time: as many as are kept of it.
const REQUESTS: usize = 32;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "embedded_stdout_unread",
        "stdout is not read, while a node with 32 waiting requests changes all the time: no line of a written decision is lost",
        stdout_unread,
    )]
}

async fn stdout_unread(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let daemon = &test_cluster.replicas[0];
        daemon.stdout().set_pace(Pace::Stopped);
        let written = daemon.written().await?;
        let changes = change_until_over_budget(&admin, daemon).await?;
        sleep(lasts).await;
        let alive = daemon.http_get("/livez").await?;
        ensure!(alive.status == 200, "{alive:?} after {changes} changes");
        ensure!(daemon.is_leader().await?, "leadership was lost");
        // Approvals and denials go on.
        let begun = Instant::now();
        while daemon.written().await? == written {
            ensure!(begun.elapsed() < SOON, "nothing is written");
            sleep(POLL_INTERVAL).await;
        }
        daemon.stdout().set_pace(Pace::Unlimited);
        Ok(())
    };
    let expectations = Expectations::default();
    let mut seen =
        run_scenario(&mut test_cluster, &scale, scale.fault, expectations, during).await?;
    let decisions = decisions(test_cluster.replicas[0].stdout()).await?;
    let logged = logged_writes(&decisions);
    for (name, _, _) in test_cluster.writes()? {
        ensure!(logged.contains(&*name), "no line about {name}");
    }
    let loud = of_node(&decisions, &loud());
    seen.note = format!("{} lines, of the node {loud}", decisions.len());
    Ok(seen)
}

/// Returns all decisions of a daemon that has exited. Each line of stdout must be one.
pub(super) async fn decisions(stdout: &Output) -> Result<Vec<Decision>> {
    let lines = stdout.ended(SOON).await?;
    let decision = |line: &String| decision_log::parse(line).with_context(|| line.clone());
    lines.iter().map(decision).collect()
}

/// Returns the names of all requests with a line about a written condition.
pub(super) fn logged_writes(decisions: &[Decision]) -> BTreeSet<&str> {
    let written = |decision: &&Decision| matches!(&*decision.verdict, "Approve" | "Deny");
    let written = decisions.iter().filter(written);
    written.map(|decision| &*decision.request).collect()
}

/// Returns the number of lines about requests of this node.
pub(super) fn of_node(decisions: &[Decision], node: &str) -> usize {
    let user = format!("system:node:{node}");
    let of_user = |decision: &&Decision| decision.requestor == user;
    decisions.iter().filter(of_user).count()
}

fn loud() -> String {
    format!("{ATTACKER_PREFIX}loud")
}

/// Makes requests that wait, and changes the Node until lines of it are dropped. Returns the number of
/// changes.
async fn change_until_over_budget(admin: &Client, daemon: &Daemon) -> Result<usize> {
    let node = loud();
    let address = "10.66.99.1".parse()?;
    let other = "10.66.99.2".parse()?;
    for _ in 0..REQUESTS {
        let template = Template::genuine(&node, std::slice::from_ref(&node), &[address, other]);
        let request = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": ByteString(template.pem(&KeyPair::generate()?)?.into_bytes()),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
            },
        });
        let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let request = http::Request::post(requests)
            .header("impersonate-user", format!("system:node:{node}"))
            .header("impersonate-group", "system:nodes")
            .header("content-type", "application/json")
            .body(request.to_string().into_bytes())?;
        admin.request::<Value>(request).await.context("a request")?;
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.66.99.1"}]},
    });
    let begun = Instant::now();
    let mut changes = 0;
    while daemon
        .metric("csr_warden_log_lines_lost_total{reason=\"budget\"}")
        .await?
        == 0
    {
        ensure!(
            begun.elapsed() < SOON,
            "not over budget after {changes} changes"
        );
        let created = http::Request::post("/api/v1/nodes")
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        admin.request::<Value>(created).await.context("a Node")?;
        sleep(POLL_INTERVAL).await;
        let deleted = http::Request::delete(format!("/api/v1/nodes/{node}")).body(Vec::new())?;
        admin.request::<Value>(deleted).await.context("deletion")?;
        sleep(POLL_INTERVAL).await;
        changes += 2;
    }
    Ok(changes)
}
