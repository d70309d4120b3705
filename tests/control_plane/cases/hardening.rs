//! `deploy/hardening` on a real API server. It rejects writes of kubelets and unauthorized
//! approvers. Kubelets, the control plane and csr-warden keep working.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::test_cluster::SOON;
use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::node_user::{NewRequest, NodeUser, condition, settled};
use control_plane::{POLL_INTERVAL, netns};
use testkit::forge::Recipe;

const HARDENING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/hardening");
const API_SERVER: Ipv4Addr = netns::ADDRESS;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("hardening_of_nodes", Needs::OwnNetwork, nodes),
        Case::new("hardening_of_approvals", Needs::Nothing, approvals),
    ]
}

async fn hardened(assets: &Assets, options: Options) -> Result<Cluster> {
    let cluster = Cluster::start(assets, options).await?;
    let apply = ["apply", "--server-side", "-k", HARDENING];
    cluster.kubectl(&apply).await?;
    Ok(cluster)
}

/// Returns the message of a rejected write, `None` if it was accepted.
fn refusal<T>(answer: kube::Result<T>) -> Result<Option<String>> {
    match answer {
        Ok(_) => Ok(None),
        Err(Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the API server, which loads policies with a delay, rejects the write.
async fn in_force<T, F>(mut tried: impl FnMut() -> F, said: &str) -> Result<()>
where
    F: Future<Output = kube::Result<T>>,
{
    let begun = Instant::now();
    loop {
        let answer = refusal(tried().await)?;
        if answer.as_deref().is_some_and(|why| why.contains(said)) {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "`{said}` is not said: {answer:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Writes these addresses next to the kubelet's own: the whole list, as kubelets do.
async fn write(user: &NodeUser, more: &[&str], dry_run: bool) -> kube::Result<Node> {
    let name = &user.name;
    let entries = ["Hostname n", "InternalIP 10.0.0.1"].iter().chain(more);
    let list: Vec<Value> = entries
        .filter_map(|entry| entry.split_once(' '))
        .map(|(kind, address)| json!({"type": kind, "address": address}))
        .collect();
    let params = PatchParams {
        dry_run,
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": {"addresses": list}}));
    let api: Api<Node> = Api::all(user.client().clone());
    api.patch_status(name, &params, &patch).await
}

const RESERVED: &str = "may not give its Node what no node can have: `";
const MALFORMED: &str =
    "may not give its Node an address that is not an IP address in its usual form";
const SERVICE: &str = "may not give its Node an address of Services: `";
const SERVER: &str = "may not give its Node the address of an API server: `";

/// Addresses that a kubelet adds to good ones, with the message of the rejection.
const REFUSED: [(&str, &str); 22] = [
    ("InternalIP 127.0.0.1", RESERVED),
    ("Hostname 127.0.0.53", RESERVED),
    ("InternalIP 169.254.169.254", RESERVED),
    ("ExternalIP 169.254.1.1", RESERVED),
    ("InternalIP 0.0.0.0", RESERVED),
    ("InternalIP 224.0.0.1", RESERVED),
    ("InternalIP 255.255.255.255", RESERVED),
    ("InternalIP 100.100.100.200", RESERVED),
    ("InternalIP ::1", RESERVED),
    ("InternalIP fe80::1", RESERVED),
    ("InternalIP ff02::1", RESERVED),
    ("InternalIP fd00:ec2::254", RESERVED),
    ("InternalIP FD00:EC2:0::254", RESERVED),
    ("InternalIP 64:ff9b::a9fe:a9fe", RESERVED),
    ("InternalDNS LocalHost.", RESERVED),
    ("Hostname kubernetes.default", RESERVED),
    ("InternalDNS metrics-server.kube-system.SVC", RESERVED),
    ("InternalIP ::ffff:127.0.0.1", MALFORMED),
    ("Hostname ::ffff:10.96.0.1", MALFORMED),
    ("InternalIP 010.0.0.1", MALFORMED),
    ("InternalIP 10.96.0.1", SERVICE),
    ("InternalIP 192.0.2.10", SERVER),
];

/// Addresses that kubelets report in normal operation.
const TAKEN: [&[&str]; 5] = [
    &[],
    &["ExternalIP 203.0.113.5", "InternalDNS n.example.org"],
    &["InternalIP 2001:db8::1", "Hostname 10.0.0.1"],
    &[
        "InternalDNS kubernetes-worker-1",
        "ExternalDNS svc.example.org",
    ],
    &["InternalIP 10.97.0.1"],
];

async fn nodes(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        advertise: Some(API_SERVER),
        ..Options::default()
    };
    let cluster = hardened(&assets, options).await?;
    let user = NodeUser::new(&cluster, "n").await?;
    user.register().await?;
    for (address, said) in [REFUSED[0], REFUSED[20], REFUSED[21]] {
        in_force(|| async { write(&user, &[address], true).await }, said).await?;
    }

    for (address, said) in REFUSED {
        let why = refusal(write(&user, &[address], false).await)?;
        let why = why.with_context(|| format!("{address} is taken"))?;
        ensure!(why.contains(said), "{address}: {why}");
        let (_, text) = address.split_once(' ').context("address")?;
        ensure!(why.contains(&format!("`{text}`")), "{address}: {why}");
    }
    let nodes: Api<Node> = Api::all(cluster.admin());
    let status = nodes.get("n").await?.status.unwrap_or_default();
    ensure!(status.addresses.is_none(), "{:?}", status.addresses);
    for addresses in TAKEN {
        let why = refusal(write(&user, addresses, false).await)?;
        ensure!(why.is_none(), "{addresses:?}: {why:?}");
    }

    // The Node that it creates may not have it either.
    let thief = NodeUser::new(&cluster, "thief").await?;
    let own: Api<Node> = Api::all(thief.client().clone());
    for (address, said) in [REFUSED[0], REFUSED[20], REFUSED[21]] {
        let (kind, address) = address.split_once(' ').context("address")?;
        let node = serde_json::from_value(json!({
            "metadata": {"name": "thief"},
            "status": {"addresses": [{"type": kind, "address": address}]},
        }))?;
        let why = refusal(own.create(&PostParams::default(), &node).await)?;
        let why = why.with_context(|| format!("a Node with {address} is created"))?;
        ensure!(why.contains(said), "{address}: {why}");
    }

    existing_addresses_stay_valid(&cluster, &user).await?;
    the_control_plane_has_its_own(&cluster).await?;
    kubelets_are_served(&assets, &cluster).await
}

/// A Node with such an address stays ready, may remove the address, and may not add another one.
async fn existing_addresses_stay_valid(cluster: &Cluster, user: &NodeUser) -> Result<()> {
    let old = ["InternalIP 127.0.0.1", "InternalIP 10.96.0.9"];
    control_plane::node_user::report(&cluster.admin(), "n", &old).await?;
    let own: Api<Node> = Api::all(user.client().clone());
    let ready = json!({"type": "Ready", "status": "True", "reason": "a", "message": "b",
                       "lastHeartbeatTime": "2026-01-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"conditions": [ready]}}));
    own.patch_status("n", &PatchParams::default(), &patch)
        .await
        .context("a heartbeat")?;
    let kept = refusal(write(user, &old, false).await)?;
    ensure!(kept.is_none(), "{kept:?}");
    let other = refusal(write(user, &[old[0], "InternalIP 127.0.0.2"], false).await)?;
    let other = other.context("one more is taken")?;
    ensure!(
        other.contains(RESERVED) && !other.contains("127.0.0.1"),
        "{other}"
    );
    let dropped = refusal(write(user, &[], false).await)?;
    ensure!(dropped.is_none(), "{dropped:?}");
    let back = refusal(write(user, &[old[0]], false).await)?;
    ensure!(back.is_some(), "what was dropped comes back");
    Ok(())
}

async fn the_control_plane_has_its_own(cluster: &Cluster) -> Result<()> {
    let leader = NodeUser::new(cluster, "control-plane-1").await?;
    leader.register().await?;
    let address = format!("InternalIP {API_SERVER}");
    let why = refusal(write(&leader, &[&address], false).await)?;
    ensure!(why.is_some_and(|why| why.contains(SERVER)));
    let label = "node-role.kubernetes.io/control-plane=";
    let args = ["label", "node", "control-plane-1", label];
    cluster.kubectl(&args).await?;
    let why = refusal(write(&leader, &[&address], false).await)?;
    ensure!(why.is_none(), "{why:?}");
    let why = refusal(write(&leader, &["InternalIP 10.96.0.1"], false).await)?;
    ensure!(why.is_some_and(|why| why.contains(SERVICE)));
    Ok(())
}

/// Serves kubelets end to end, with the policies enabled.
async fn kubelets_are_served(assets: &Assets, cluster: &Cluster) -> Result<()> {
    let installation = Installation::apply(cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    let options = fleet::Options {
        dual_stack: true,
        ..fleet::Options::nodes(5)
    };
    let mut fleet = Fleet::start(assets, cluster, &options)?;
    fleet.wait_all_issued(SOON).await?;
    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    ensure!(fleet.errors().is_empty(), "{:?}", fleet.errors());
    daemon.sigterm(Duration::from_secs(5)).await?;
    for word in ["WARN", "ERROR"] {
        let lines = daemon.stderr().containing(word);
        ensure!(lines.is_empty(), "{lines:#?}");
    }
    Ok(())
}

const MAY_NOT: &str = "`eve` may not approve the serving certificate of a kubelet";

/// A user with all permissions that RBAC can grant for approval.
const EVE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: eve}
rules:
  - apiGroups: [certificates.k8s.io]
    resources: [certificatesigningrequests, certificatesigningrequests/approval]
    verbs: ["*"]
  - apiGroups: [certificates.k8s.io]
    resources: [signers]
    verbs: [approve]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: eve}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: eve}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}
"#;

/// Writes a condition as this user.
async fn decide(
    client: &Client,
    request: &str,
    decision: &str,
    dry_run: bool,
) -> kube::Result<CertificateSigningRequest> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let mut object = api.get(request).await?;
    let decided = json!([{"type": decision, "status": "True", "reason": "a", "message": "b"}]);
    let status = object.status.get_or_insert_default();
    status.conditions = serde_json::from_value(decided).map_err(Error::SerdeError)?;
    let params = PostParams {
        dry_run,
        ..PostParams::default()
    };
    api.replace_subresource("approval", request, &params, &object)
        .await
}

async fn approvals(assets: Arc<Assets>) -> Result<()> {
    let cluster = hardened(&assets, Options::default()).await?;
    cluster.apply(EVE).await?;
    let admin = cluster.admin();
    let eve = cluster.client_for("eve", &["approvers"]).await?;
    let node = NodeUser::new(&cluster, "n").await?;
    node.register().await?;
    node.report(&["Hostname n", "InternalIP 10.0.0.1"]).await?;
    let post = async |name: &str| {
        let pem = Recipe::genuine("n", &["n"], &["10.0.0.1".parse()?]).pem();
        node.post(&NewRequest::new(name, pem)).await.map(drop)
    };
    for name in ["by-eve", "denied", "by-group", "by-warden", "by-admin"] {
        post(name).await?;
    }
    in_force(
        || async { decide(&eve, "by-eve", "Approved", true).await },
        MAY_NOT,
    )
    .await?;
    let why = refusal(decide(&eve, "by-eve", "Approved", false).await)?;
    ensure!(
        why.as_ref()
            .is_some_and(|why| why.contains("kube-system/csr-warden-approvers")),
        "{why:?}"
    );
    let api: Api<CertificateSigningRequest> = Api::all(admin.clone());
    ensure!(condition(&api.get("by-eve").await?, "Approved").is_none());

    // The policy ignores denials, approvals for other signers, and administrators.
    ensure!(refusal(decide(&eve, "denied", "Denied", false).await)?.is_none());
    let mut other = NewRequest::new("another-signer", Recipe::genuine("n", &["n"], &[]).pem());
    other.signer = "example.org/other".into();
    other.post(&admin).await?;
    let why = refusal(decide(&eve, "another-signer", "Approved", false).await)?;
    ensure!(why.is_none(), "{why:?}");
    let why = refusal(decide(&admin, "by-admin", "Approved", false).await)?;
    ensure!(why.is_none(), "{why:?}");

    // csr-warden may approve, and no other user may.
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    for name in ["by-eve", "by-warden", "by-group"] {
        settled(&admin, name, "Approved").await?;
    }
    daemon.sigterm(Duration::from_secs(5)).await?;

    // A listed group may approve. Without the list, no group may.
    post("late").await?;
    let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), "kube-system");
    let patch = Patch::Merge(json!({"data": {"groups": "system:masters\napprovers\n"}}));
    maps.patch("csr-warden-approvers", &PatchParams::default(), &patch)
        .await?;
    let begun = Instant::now();
    while let Some(why) = refusal(decide(&eve, "late", "Approved", true).await)? {
        ensure!(begun.elapsed() < SOON, "the group is not heeded: {why}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    maps.delete("csr-warden-approvers", &Default::default())
        .await?;
    in_force(
        || async { decide(&admin, "late", "Approved", true).await },
        "no params found for policy binding",
    )
    .await
}
