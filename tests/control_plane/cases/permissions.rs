//! The permissions in the manifests. Each is needed, a missing one is reported, and all together
//! are sufficient.

mod components;
mod namespaces;
mod roles;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use roles::Role;
use serde_json::json;

use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::{POLL_INTERVAL, pki};

const SOON: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(5);
const USER: &str = "system:serviceaccount:kube-system:csr-warden";
/// Namespace and name of each role in the manifests.
const ROLES: [(Option<&str>, &str); 4] = [
    (None, "csr-warden"),
    (Some("kube-system"), "csr-warden-lease"),
    (Some("default"), "csr-warden-api-server"),
    (Some("kube-public"), "csr-warden-cluster-info"),
];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("permissions_are_sufficient", Needs::Nothing, are_enough),
        Case::new(
            "permissions_are_reported_by_name",
            Needs::Nothing,
            are_missed,
        ),
        Case::new("permissions_without_lease", Needs::Nothing, lease_is_missed),
        Case::new(
            "permissions_of_a_standby",
            Needs::Nothing,
            standby_is_checked,
        ),
        Case::new(
            "component_permissions_are_reported_by_name",
            Needs::Nothing,
            components::are_missed,
        ),
        Case::new(
            "permissions_in_a_namespace_that_a_tool_sets",
            Needs::Nothing,
            namespaces::are_kept,
        ),
    ]
}

/// The report of a missing permission.
enum Report {
    /// By the source with this name.
    Source(&'static str),
    /// By the write of a condition.
    Write(&'static str),
    /// By the Lease.
    Lease,
    /// By the Event of a denial, with this verb.
    Event(String),
}

fn report_of(rule: &PolicyRule) -> Result<Report> {
    let resources = rule.resources.clone().unwrap_or_default();
    let resource = resources.first().context("resource")?.as_str();
    Ok(match resource {
        "certificatesigningrequests" => Report::Source("certificatesigningrequests"),
        "nodes" => Report::Source("nodes"),
        "servicecidrs" => Report::Source("servicecidrs"),
        "namespaces" => Report::Source("namespaces"),
        "services" => Report::Source("kubernetes-service"),
        "endpointslices" => Report::Source("apiserver-endpoints"),
        "configmaps" => Report::Source("cluster-info"),
        "certificatesigningrequests/approval" => {
            Report::Write("certificatesigningrequests/approval")
        }
        "signers" => Report::Write("signerName"),
        "leases" => Report::Lease,
        "events" => Report::Event(rule.verbs.first().context("verb")?.clone()),
        other => anyhow::bail!("no expectation for `{other}`"),
    })
}

/// Splits rules, so that each verb whose absence is reported separately has a rule of its own.
fn one_verb_each(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut one_verb_each = Vec::new();
    for rule in rules {
        if rule.resources.as_deref() != Some(&["events".to_owned()]) {
            one_verb_each.push(rule);
            continue;
        }
        for verb in &rule.verbs {
            let verbs = vec![verb.clone()];
            one_verb_each.push(PolicyRule {
                verbs,
                ..rule.clone()
            });
        }
    }
    one_verb_each
}

struct PermissionTest {
    cluster: Cluster,
    installation: Installation,
    fleet: Fleet,
    forged: Cell<u32>,
}

impl PermissionTest {
    async fn start(assets: &Assets) -> Result<Self> {
        let cluster = Cluster::start(assets, Options::default()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let fleet = Fleet::start(assets, &cluster, &fleet::Options::nodes(1))?;
        Ok(Self {
            cluster,
            installation,
            fleet,
            forged: Cell::new(0),
        })
    }

    /// Posts a request that must be denied: it has no names.
    async fn forge(&self) -> Result<String> {
        self.forged.set(self.forged.get() + 1);
        let name = format!("forged-{}", self.forged.get());
        let user = "system:node:node-1";
        let pem = pki::request(user, &["system:nodes"])?;
        let request: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "request": ByteString(pem.into_bytes()),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
            },
        }))?;
        let node = self.cluster.client_for(user, &["system:nodes"]).await?;
        let api: Api<CertificateSigningRequest> = Api::all(node);
        api.create(&PostParams::default(), &request).await?;
        Ok(name)
    }

    async fn wait_denied(&self, name: &str) -> Result<()> {
        let api: Api<CertificateSigningRequest> = Api::all(self.cluster.admin());
        let begun = Instant::now();
        loop {
            let status = api.get(name).await?.status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            if conditions.iter().any(|one| one.type_ == "Denied") {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < SOON,
                "`{name}` is not denied: {conditions:?}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for the Node's Event that starts with this request and has this count.
    async fn wait_reported(&self, first: &str, count: i32) -> Result<()> {
        let api: Api<Event> = Api::default_namespaced(self.cluster.admin());
        let begun = Instant::now();
        loop {
            let events = api.list(&ListParams::default()).await?.items;
            let report = events.iter().any(|event| {
                let related = event.related.clone().unwrap_or_default();
                let series = event.series.as_ref();
                related.name.as_deref() == Some(first)
                    && series.map_or(1, |series| series.count) == count
            });
            if report {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "no Event of {first}: {events:#?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

async fn are_enough(assets: Arc<Assets>) -> Result<()> {
    let mut test = PermissionTest::start(&assets).await?;
    let mut daemon = test.installation.start("csr-warden", &[])?;
    test.fleet.wait_all_issued(SOON).await?;
    let forged = test.forge().await?;
    test.wait_denied(&forged).await?;
    test.wait_reported(&forged, 1).await?;
    test.forge().await?;
    test.wait_reported(&forged, 2).await?;
    daemon.sigterm(END).await?;
    for word in ["forbidden", "permission", "Forbidden", "WARN", "ERROR"] {
        let lines = daemon.stderr().containing(word);
        ensure!(lines.is_empty(), "{lines:#?}");
    }
    Ok(())
}

async fn are_missed(assets: Arc<Assets>) -> Result<()> {
    let mut test = PermissionTest::start(&assets).await?;
    for (namespace, name) in ROLES {
        let role = Role::new(&test.cluster, namespace, name);
        let rules = one_verb_each(role.rules().await?);
        for (index, rule) in rules.iter().enumerate() {
            let mut fewer = rules.clone();
            fewer.remove(index);
            role.set(&fewer).await?;
            role.wait_allowed(USER, rule, false).await?;
            let what = || format!("{name} without {rule:?}");
            let replica = format!("without-{name}-{index}");
            let mut daemon = test.installation.start(&replica, &[])?;
            let remedy = remedy(namespace, rule)?;
            let missed = missed(&test, &mut daemon, report_of(rule)?, remedy).await;
            missed.with_context(what)?;

            // The same process recovers once it has the permission.
            role.set(&rules).await?;
            role.wait_allowed(USER, rule, true).await?;
            daemon.wait_ready(SOON).await.with_context(what)?;
            test.fleet.rotate_all()?;
            let issued = test.fleet.wait_all_issued(SOON).await;
            issued.with_context(what)?;
            daemon.sigterm(END).await?;
        }
    }
    Ok(())
}

/// Without the Lease of the manifests no replica leads, and the log names the manifest to apply.
async fn lease_is_missed(assets: Arc<Assets>) -> Result<()> {
    let test = PermissionTest::start(&assets).await?;
    let leases: Api<Lease> = Api::namespaced(test.cluster.admin(), "kube-system");
    let lease = leases.get("csr-warden").await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    ensure!(holder.is_none(), "{holder:?}");
    leases
        .delete("csr-warden", &DeleteParams::default())
        .await?;
    let mut daemon = test.installation.start("csr-warden", &[])?;
    let line = daemon
        .wait_for_log("cannot create the Lease kube-system/csr-warden", SOON)
        .await?;
    let remedy = "apply deploy/base/lease.yaml";
    ensure!(line.contains(remedy), "{line}");
    daemon.wait_unready(remedy, SOON).await?;
    ensure!(!daemon.is_leader().await?, "it leads without a Lease");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/lease.yaml");
    test.cluster
        .kubectl(&["apply", "--server-side", "-f", manifest])
        .await?;
    daemon.wait_ready(SOON).await?;
    let begun = Instant::now();
    while !daemon.is_leader().await? {
        ensure!(begun.elapsed() < SOON, "no leader");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    // Applied again, the Lease keeps its holder.
    for mode in [&["--server-side"][..], &[]] {
        let args = [&["apply", "-f", manifest], mode].concat();
        test.cluster.kubectl(&args).await?;
        let lease = leases.get("csr-warden").await?;
        ensure!(
            lease
                .spec
                .is_some_and(|spec| spec.holder_identity.is_some()),
            "{mode:?}"
        );
    }
    daemon.sigterm(END).await?;
    Ok(())
}

/// The part of a report that names the role and the rule to add to it.
fn remedy(namespace: Option<&str>, rule: &PolicyRule) -> Result<String> {
    let role = match namespace {
        Some(namespace) => format!("a Role in namespace {namespace}"),
        None => "a ClusterRole".to_owned(),
    };
    let resources = rule.resources.clone().unwrap_or_default();
    let groups = rule.api_groups.clone().unwrap_or_default();
    let group = groups.first().context("group")?.as_str();
    let group = if group.is_empty() { "\"\"" } else { group };
    let resource = resources.first().context("resource")?;
    Ok(format!(
        "{role} needs the rule {{apiGroups: [{group}], resources: [{resource}]"
    ))
}

/// A standby is ready, unless it may not update the Lease: it could never lead.
async fn standby_is_checked(assets: Arc<Assets>) -> Result<()> {
    let test = PermissionTest::start(&assets).await?;
    let role = Role::new(&test.cluster, Some("kube-system"), "csr-warden-lease");
    let rules = role.rules().await?;
    let held = json!({"spec": {
        "holderIdentity": "another", "leaseDurationSeconds": 3600,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }});
    let leases: Api<Lease> = Api::namespaced(test.cluster.admin(), "kube-system");
    let params = PatchParams::default();
    leases
        .patch("csr-warden", &params, &Patch::Merge(held))
        .await?;
    let before = leases.get("csr-warden").await?.metadata.resource_version;

    let mut standby = test.installation.start("standby", &[])?;
    standby
        .wait_for_log("standing by: another replica holds the Lease", SOON)
        .await?;
    standby.wait_ready(SOON).await?;
    standby.sigterm(END).await?;
    let after = leases.get("csr-warden").await?.metadata.resource_version;
    ensure!(before == after, "the check has changed the Lease");

    let mut reads = rules.clone();
    let update = PolicyRule {
        verbs: vec!["update".to_owned()],
        ..rules.first().context("rule")?.clone()
    };
    for rule in &mut reads {
        rule.verbs.retain(|verb| verb != "update");
    }
    role.set(&reads).await?;
    role.wait_allowed(USER, &update, false).await?;
    let mut standby = test.installation.start("reader", &[])?;
    let why = "lease: cannot update the Lease kube-system/csr-warden: a permission is missing";
    standby.wait_unready(why, SOON).await?;
    role.set(&rules).await?;
    standby.wait_ready(SOON).await?;
    standby.sigterm(END).await?;
    Ok(())
}

async fn missed(
    test: &PermissionTest,
    daemon: &mut Daemon,
    report: Report,
    rule: String,
) -> Result<()> {
    const MISSING: &str = "a permission is missing";
    match report {
        Report::Source(source) => {
            daemon
                .wait_for_log(&format!("{source} cannot be read: {MISSING}"), SOON)
                .await?;
            let why = format!("{source}: cannot be read: {MISSING}");
            daemon.wait_unready(&why, SOON).await?;
            daemon.wait_unready(&rule, SOON).await
        }
        Report::Write(named) => {
            daemon.wait_ready(SOON).await?;
            test.forge().await?;
            let line = daemon
                .wait_for_log(&format!("cannot write a condition: {MISSING}"), SOON)
                .await?;
            ensure!(line.contains(named), "{line}");
            daemon
                .wait_unready(&format!("approval: {MISSING}"), SOON)
                .await?;
            daemon.wait_unready(&rule, SOON).await
        }
        Report::Lease => {
            let lease = format!("cannot get the Lease kube-system/csr-warden: {MISSING}");
            daemon.wait_for_log(&lease, SOON).await?;
            daemon
                .wait_unready(&format!("lease: {lease}"), SOON)
                .await?;
            daemon.wait_unready(&rule, SOON).await
        }
        Report::Event(verb) => {
            daemon.wait_ready(SOON).await?;
            let forged = test.forge().await?;
            test.wait_denied(&forged).await?;
            if verb == "patch" {
                test.wait_reported(&forged, 1).await?;
                test.forge().await?;
            }
            let line = daemon
                .wait_for_log(&format!("cannot write an Event: {MISSING}"), SOON)
                .await?;
            ensure!(line.contains("events"), "{line}");
            ensure!(line.contains(&format!("cannot {verb} ")), "{line}");
            Ok(())
        }
    }
}
