//! Evidence that arrives after the request. The request waits and is not denied, until it is too
//! old.

mod recently_protected;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::decision_log::{self, Decision};
use control_plane::install::Installation;
use control_plane::node_user::{
    NewRequest, NodeUser, has_no_conditions, settled, wait_until_later_than,
};
use testkit::forge::Recipe;

const SOON: Duration = Duration::from_secs(60);
/// The deadline from the evidence to the approval.
const AT_ONCE: Duration = Duration::from_secs(2);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "late_evidence_is_awaited",
            Needs::Nothing,
            late_evidence_is_awaited,
        ),
        Case::new(
            "a_request_without_its_node_is_dropped",
            Needs::Nothing,
            a_request_without_its_node_is_dropped,
        ),
        Case::new(
            "recently_protected_name_is_not_free",
            Needs::Nothing,
            recently_protected::recently_protected_name_is_not_free,
        ),
    ]
}

async fn late_evidence_is_awaited(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let test = LateEvidenceTest {
        cluster: &cluster,
        admin: cluster.admin(),
        daemon: &daemon,
    };

    addresses_come_late(&test).await?;
    some_addresses_come_late(&test).await?;
    the_cloud_provider_is_late(&test).await?;
    another_node_goes_away(&test).await?;
    a_lost_node_is_removed(&test).await?;
    the_first_claim_ends(&test).await?;
    the_watches_are_late(&test).await?;

    let all = decision_log::all(daemon.stdout());
    let wrong = all
        .iter()
        .find(|d| !["Wait", "Approve"].contains(&&*d.verdict));
    ensure!(wrong.is_none(), "{wrong:?}");
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

struct LateEvidenceTest<'a> {
    cluster: &'a Cluster,
    admin: Client,
    daemon: &'a Daemon,
}

impl LateEvidenceTest<'_> {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.admin.clone())
    }

    /// Creates a node whose Node has these addresses.
    async fn node(&self, name: &str, addresses: &[&str]) -> Result<NodeUser> {
        let user = NodeUser::new(self.cluster, name).await?;
        let created = user.register().await?;
        if !addresses.is_empty() {
            user.report(addresses).await?;
        }
        wait_until_later_than(&self.admin, created).await?;
        Ok(user)
    }

    /// Posts the kubelet's request, and waits until csr-warden waits because of these codes.
    async fn waits(&self, user: &NodeUser, ips: &[&str], codes: &[&str]) -> Result<()> {
        user.post(&genuine(&user.name, ips)?).await?;
        decision_log::expect(self.daemon.stdout(), &user.name, "Wait", codes).await
    }

    /// Posts a request with this name, and waits for csr-warden's first decision.
    async fn first_decision(&self, user: &NodeUser, request: &str, ip: &str) -> Result<Decision> {
        let mut ask = genuine(&user.name, &[ip])?;
        ask.metadata = json!({"name": request});
        user.post(&ask).await?;
        let said = |line: &str| decision_log::parse(line).filter(|said| said.request == request);
        let found = self.daemon.stdout().find(SOON, said).await;
        found.with_context(|| format!("{request}: nothing was decided"))
    }

    /// Waits for the approval, which must follow at once.
    async fn is_approved_at_once(&self, request: &str, evidence: Instant) -> Result<()> {
        settled(&self.admin, request, "Approved").await?;
        let after = evidence.elapsed();
        ensure!(
            after < AT_ONCE,
            "{request}: approved {after:?} after the evidence"
        );
        Ok(())
    }

    async fn patch(&self, node: &str, patch: Value) -> Result<()> {
        let patch = Patch::Merge(patch);
        self.nodes()
            .patch(node, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

/// Creates a request with the name of its node.
fn genuine(node: &str, ips: &[&str]) -> Result<NewRequest> {
    let ips = ips
        .iter()
        .map(|ip| ip.parse())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(NewRequest::new(
        node,
        Recipe::genuine(node, &[node], &ips).pem(),
    ))
}

async fn addresses_come_late(test: &LateEvidenceTest<'_>) -> Result<()> {
    let user = test.node("fresh", &[]).await?;
    let codes = ["NodeAddressesMissing", "SanNotOfNode"];
    test.waits(&user, &["10.1.0.1"], &codes).await?;
    let now = Instant::now();
    user.report(&["Hostname fresh", "InternalIP 10.1.0.1"])
        .await?;
    test.is_approved_at_once("fresh", now).await
}

async fn some_addresses_come_late(test: &LateEvidenceTest<'_>) -> Result<()> {
    let first = ["Hostname dual", "InternalIP 10.1.0.2"];
    let user = test.node("dual", &first).await?;
    test.waits(&user, &["10.1.0.2", "fd00::2"], &["SanNotOfNode"])
        .await?;
    let now = Instant::now();
    user.report(&[first[0], first[1], "InternalIP fd00::2"])
        .await?;
    test.is_approved_at_once("dual", now).await
}

async fn the_cloud_provider_is_late(test: &LateEvidenceTest<'_>) -> Result<()> {
    let taint = json!({
        "key": "node.cloudprovider.kubernetes.io/uninitialized",
        "value": "true",
        "effect": "NoSchedule",
    });
    let user = test
        .node("cloud", &["Hostname cloud", "InternalIP 10.1.0.3"])
        .await?;
    test.patch("cloud", json!({"spec": {"taints": [taint]}}))
        .await?;
    test.waits(&user, &["10.1.0.3"], &["NodeUninitialized"])
        .await?;
    let now = Instant::now();
    test.patch("cloud", json!({"spec": {"taints": null}}))
        .await?;
    test.is_approved_at_once("cloud", now).await
}

/// The address of a deleted Node passes to a new one, as when a machine is replaced.
async fn another_node_goes_away(test: &LateEvidenceTest<'_>) -> Result<()> {
    test.node("old", &["Hostname old", "InternalIP 10.1.0.4"])
        .await?;
    let finalizer = json!({"metadata": {"finalizers": ["example.com/held"]}});
    test.patch("old", finalizer).await?;
    test.nodes().delete("old", &DeleteParams::default()).await?;
    let user = test
        .node("new", &["Hostname new", "InternalIP 10.1.0.4"])
        .await?;
    test.waits(&user, &["10.1.0.4"], &["SanContested"]).await?;
    let now = Instant::now();
    test.patch("old", json!({"metadata": {"finalizers": null}}))
        .await?;
    test.is_approved_at_once("new", now).await
}

async fn a_lost_node_is_removed(test: &LateEvidenceTest<'_>) -> Result<()> {
    test.node("lost", &["Hostname lost", "InternalIP 10.1.0.5"])
        .await?;
    let lost = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    test.nodes()
        .patch_status("lost", &PatchParams::default(), &Patch::Merge(lost))
        .await?;
    let user = test
        .node("heir", &["Hostname heir", "InternalIP 10.1.0.5"])
        .await?;
    test.waits(&user, &["10.1.0.5"], &["SanContested"]).await?;
    let now = Instant::now();
    test.nodes()
        .delete("lost", &DeleteParams::default())
        .await?;
    test.is_approved_at_once("heir", now).await
}

/// A Node that claimed the address first delays another one, but only while it claims it.
async fn the_first_claim_ends(test: &LateEvidenceTest<'_>) -> Result<()> {
    let first = test.node("first", &["InternalIP 10.1.0.6"]).await?;
    let user = test
        .node("second", &["Hostname second", "InternalIP 10.1.0.6"])
        .await?;
    test.waits(&user, &["10.1.0.6"], &["SanContested"]).await?;
    let now = Instant::now();
    first.report(&["InternalIP 10.1.0.60"]).await?;
    test.is_approved_at_once("second", now).await
}

/// Requests and Nodes arrive over two watches. While the daemon is paused, both accumulate. It must
/// approve in any order of reading.
async fn the_watches_are_late(test: &LateEvidenceTest<'_>) -> Result<()> {
    const NODES: usize = 10;
    let mut users = Vec::new();
    for index in 0..NODES {
        users.push(test.node(&format!("piled-{index}"), &[]).await?);
    }
    test.daemon.pause()?;
    for (index, user) in users.iter().enumerate() {
        let address = format!("InternalIP 10.1.1.{index}");
        let addresses = [format!("Hostname {}", user.name), address];
        let ask = genuine(&user.name, &[&format!("10.1.1.{index}")])?;
        if index % 2 == 0 {
            user.post(&ask).await?;
            user.report(&addresses).await?;
        } else {
            user.report(&addresses).await?;
            user.post(&ask).await?;
        }
    }
    let now = Instant::now();
    test.daemon.resume()?;
    for user in &users {
        test.is_approved_at_once(&user.name, now).await?;
    }
    Ok(())
}

/// Rows 57 and 59: nothing is written, and the request is ignored after the policy's maxAge.
async fn a_request_without_its_node_is_dropped(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let policy = cluster.dir().join("impatient.yaml");
    let default = include_str!("../../../policies/default.yaml");
    ensure!(
        default.contains("maxAge: 15m"),
        "the default policy has another maxAge"
    );
    std::fs::write(&policy, default.replace("maxAge: 15m", "maxAge: 1m"))?;
    let policy = policy.to_str().context("path")?;
    let mut daemon = installation.start("csr-warden", &["--policy", policy])?;
    daemon.wait_ready(SOON).await?;
    let admin = cluster.admin();
    let nodes: Api<Node> = Api::all(admin.clone());

    // A user without a Node.
    let absent = NodeUser::new(&cluster, "absent").await?;
    // A Node that is younger than the request.
    let early = NodeUser::new(&cluster, "early").await?;
    // An earlier Node with the same name: the request is not from the new machine.
    let again = NodeUser::new(&cluster, "again").await?;
    again.register().await?;

    let mut posted = Vec::new();
    for (user, ip) in [
        (&absent, "10.2.0.1"),
        (&early, "10.2.0.2"),
        (&again, "10.2.0.3"),
    ] {
        posted.push(user.post(&genuine(&user.name, &[ip])?).await?);
    }
    let output = daemon.stdout();
    for (name, codes) in [
        ("absent", &["NodeMissing"][..]),
        ("early", &["NodeMissing"]),
        ("again", &["NodeAddressesMissing", "SanNotOfNode"]),
    ] {
        decision_log::expect(output, name, "Wait", codes).await?;
    }
    nodes.delete("again", &DeleteParams::default()).await?;
    let last = posted
        .iter()
        .filter_map(|r| r.metadata.creation_timestamp.clone())
        .max();
    wait_until_later_than(&admin, last.context("creation")?.0).await?;
    for (user, ip) in [(&early, "10.2.0.2"), (&again, "10.2.0.3")] {
        user.register().await?;
        let addresses = [
            format!("Hostname {}", user.name),
            format!("InternalIP {ip}"),
        ];
        user.report(&addresses).await?;
        decision_log::expect(output, &user.name, "Wait", &["NodeYounger"]).await?;
    }

    let old = Duration::from_secs(90);
    let requests: Api<CertificateSigningRequest> = Api::all(admin.clone());
    for before in &posted {
        let name = before.metadata.name.as_deref().context("name")?;
        // Other findings come first: a dropped request is not evaluated further.
        decision_log::expect_within(old, output, name, "Ignore", &["RequestStale"]).await?;
        let verdicts = decision_log::of(output, name);
        let wrong = verdicts
            .iter()
            .find(|d| d.verdict != "Wait" && d.verdict != "Ignore");
        ensure!(wrong.is_none(), "{wrong:?}");
        let after = requests.get(name).await?;
        ensure!(has_no_conditions(&after), "{name}: {:?}", after.status);
        ensure!(
            after.metadata.resource_version == before.metadata.resource_version,
            "{name} was written to: {:?}",
            after.metadata
        );
    }

    // The kubelet makes a new request, which is approved.
    let mut ask = genuine("early", &["10.2.0.2"])?;
    ask.metadata = json!({"name": "early-again"});
    early.post(&ask).await?;
    settled(&admin, "early-again", "Approved").await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
