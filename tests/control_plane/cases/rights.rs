//! Each right that the manifests grant is needed, and its absence is told; all of them are enough.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use crate::harness::assets::Assets;
use crate::harness::cluster::{Cluster, Options};
use crate::harness::daemon::Daemon;
use crate::harness::fleet::{self, Fleet};
use crate::harness::install::Installation;
use crate::harness::{GLANCE, pki};
use crate::{BINARY, Case, Needs};

const SOON: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(5);
const USER: &str = "system:serviceaccount:kube-system:csr-warden";
/// Kind, namespace and name of what the manifests grant.
const ROLES: [(&str, Option<&str>, &str); 4] = [
    ("ClusterRole", None, "csr-warden"),
    ("Role", Some("kube-system"), "csr-warden-lease"),
    ("Role", Some("default"), "csr-warden-api-server"),
    ("Role", Some("kube-public"), "csr-warden-cluster-info"),
];

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("rights_are_enough", Needs::Nothing, are_enough),
        Case::new("rights_are_missed_by_name", Needs::Nothing, are_missed),
    ]
}

/// What tells that a right is missing.
enum Told {
    /// The source of this name.
    Source(&'static str),
    /// The write of a condition.
    Write(&'static str),
    /// The Lease; `true` if it must not be there yet.
    Lease(bool),
    /// The Event of a denial, by this verb.
    Event(String),
}

fn told(rule: &PolicyRule) -> Result<Told> {
    let resources = rule.resources.clone().unwrap_or_default();
    let resource = resources.first().context("resource")?.as_str();
    Ok(match resource {
        "certificatesigningrequests" => Told::Source("certificatesigningrequests"),
        "nodes" => Told::Source("nodes"),
        "servicecidrs" => Told::Source("servicecidrs"),
        "services" => Told::Source("kubernetes-service"),
        "endpointslices" => Told::Source("apiserver-endpoints"),
        "configmaps" => Told::Source("cluster-info"),
        "certificatesigningrequests/approval" => Told::Write("certificatesigningrequests/approval"),
        "signers" => Told::Write("signerName"),
        "leases" => Told::Lease(rule.verbs.iter().any(|verb| verb == "create")),
        "events" => Told::Event(rule.verbs.first().context("verb")?.clone()),
        other => anyhow::bail!("no expectation for `{other}`"),
    })
}

/// The same rights, with a rule of its own for each verb of which the absence is told apart.
fn apart(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut apart = Vec::new();
    for rule in rules {
        if rule.resources.as_deref() != Some(&["events".to_owned()]) {
            apart.push(rule);
            continue;
        }
        for verb in &rule.verbs {
            let verbs = vec![verb.clone()];
            apart.push(PolicyRule {
                verbs,
                ..rule.clone()
            });
        }
    }
    apart
}

struct Place {
    cluster: Cluster,
    installation: Installation,
    fleet: Fleet,
    forged: u32,
}

impl Place {
    async fn start(assets: &Assets) -> Result<Self> {
        let cluster = Cluster::start(assets, Options::default()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let fleet = Fleet::start(assets, &cluster, &fleet::Options::nodes(1))?;
        Ok(Self {
            cluster,
            installation,
            fleet,
            forged: 0,
        })
    }

    /// Posts a request that must be denied: it has no names.
    async fn forge(&mut self) -> Result<String> {
        self.forged += 1;
        let name = format!("forged-{}", self.forged);
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
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits for the Node's Event that begins with this request and tells of so many.
    async fn wait_told(&self, first: &str, count: i32) -> Result<()> {
        let api: Api<Event> = Api::default_namespaced(self.cluster.admin());
        let begun = Instant::now();
        loop {
            let events = api.list(&ListParams::default()).await?.items;
            let told = events.iter().any(|event| {
                let related = event.related.clone().unwrap_or_default();
                let series = event.series.as_ref();
                related.name.as_deref() == Some(first)
                    && series.map_or(1, |series| series.count) == count
            });
            if told {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "no Event of {first}: {events:#?}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn role(&self, (kind, namespace, _): (&str, Option<&str>, &str)) -> Api<DynamicObject> {
        let mut resource = ApiResource::erase::<k8s_openapi::api::rbac::v1::Role>(&());
        kind.clone_into(&mut resource.kind);
        resource.plural = format!("{}s", kind.to_lowercase());
        match namespace {
            Some(namespace) => Api::namespaced_with(self.cluster.admin(), namespace, &resource),
            None => Api::all_with(self.cluster.admin(), &resource),
        }
    }

    async fn set_rules(
        &self,
        role: (&str, Option<&str>, &str),
        rules: &[PolicyRule],
    ) -> Result<()> {
        let patch = Patch::Merge(json!({"rules": rules}));
        let api = self.role(role);
        api.patch(role.2, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until the API server's own view of the roles has come after.
    async fn wait_allowed(
        &self,
        rule: &PolicyRule,
        namespace: Option<&str>,
        allowed: bool,
    ) -> Result<()> {
        let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|l| l.first().cloned());
        let resource = first(&rule.resources).unwrap_or_default();
        let (resource, part) = match resource.split_once('/') {
            Some((resource, part)) => (resource.to_owned(), Some(part.to_owned())),
            None => (resource, None),
        };
        let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
            "user": USER,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "verb": rule.verbs.first(), "group": first(&rule.api_groups),
                "resource": resource, "subresource": part,
                "name": first(&rule.resource_names), "namespace": namespace,
            },
        }}))?;
        let api: Api<SubjectAccessReview> = Api::all(self.cluster.admin());
        let begun = Instant::now();
        loop {
            let answer = api.create(&PostParams::default(), &review).await?;
            if answer
                .status
                .is_some_and(|status| status.allowed == allowed)
            {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "{rule:?} is not {allowed}");
            tokio::time::sleep(GLANCE).await;
        }
    }
}

async fn are_enough(assets: Arc<Assets>) -> Result<()> {
    let mut place = Place::start(&assets).await?;
    let mut daemon = place.installation.start("csr-warden", &[])?;
    place.fleet.wait_all_issued(SOON).await?;
    let forged = place.forge().await?;
    place.wait_denied(&forged).await?;
    place.wait_told(&forged, 1).await?;
    place.forge().await?;
    place.wait_told(&forged, 2).await?;
    daemon.sigterm(END).await?;
    for word in ["forbidden", "permission", "Forbidden", "WARN", "ERROR"] {
        let lines = daemon.stderr().containing(word);
        ensure!(lines.is_empty(), "{lines:#?}");
    }
    Ok(())
}

async fn are_missed(assets: Arc<Assets>) -> Result<()> {
    let mut place = Place::start(&assets).await?;
    for role in ROLES {
        let object = place.role(role).get(role.2).await?;
        let rules: Value = object.data.get("rules").context("rules")?.clone();
        let rules = apart(serde_json::from_value(rules)?);
        for (index, rule) in rules.iter().enumerate() {
            let mut fewer = rules.clone();
            fewer.remove(index);
            place.set_rules(role, &fewer).await?;
            place.wait_allowed(rule, role.1, false).await?;
            let what = format!("{} without {rule:?}", role.2);
            let name = format!("without-{}-{index}", role.2);
            let mut daemon = place.installation.start(&name, &[])?;
            let missed = missed(&mut place, &mut daemon, told(rule)?).await;
            missed.with_context(|| what.clone())?;

            // The same process goes on once it may.
            place.set_rules(role, &rules).await?;
            place.wait_allowed(rule, role.1, true).await?;
            daemon
                .wait_ready(SOON)
                .await
                .with_context(|| what.clone())?;
            place.fleet.rotate_all()?;
            place
                .fleet
                .wait_all_issued(SOON)
                .await
                .with_context(|| what.clone())?;
            daemon.sigterm(END).await?;
        }
    }
    Ok(())
}

async fn missed(place: &mut Place, daemon: &mut Daemon, told: Told) -> Result<()> {
    const MISSING: &str = "a permission is missing";
    match told {
        Told::Source(source) => {
            daemon
                .wait_says(&format!("{source} cannot be read: {MISSING}"), SOON)
                .await?;
            let why = format!("{source}: cannot be read: {MISSING}");
            daemon.wait_unready(&why, SOON).await
        }
        Told::Write(named) => {
            daemon.wait_ready(SOON).await?;
            place.forge().await?;
            let line = daemon
                .wait_says(&format!("cannot write a condition: {MISSING}"), SOON)
                .await?;
            ensure!(line.contains(named), "{line}");
            daemon
                .wait_unready(&format!("approval: {MISSING}"), SOON)
                .await
        }
        Told::Lease(create) => {
            if create {
                let leases: Api<Lease> = Api::namespaced(place.cluster.admin(), "kube-system");
                leases
                    .delete("csr-warden", &DeleteParams::default())
                    .await?;
            }
            let line = daemon
                .wait_says(&format!("renew the Lease: {MISSING}"), SOON)
                .await?;
            ensure!(line.contains("leases"), "{line}");
            Ok(())
        }
        Told::Event(verb) => {
            daemon.wait_ready(SOON).await?;
            let forged = place.forge().await?;
            place.wait_denied(&forged).await?;
            if verb == "patch" {
                place.wait_told(&forged, 1).await?;
                place.forge().await?;
            }
            let line = daemon
                .wait_says(&format!("cannot write an Event: {MISSING}"), SOON)
                .await?;
            ensure!(line.contains("events"), "{line}");
            ensure!(line.contains(&format!("cannot {verb} ")), "{line}");
            Ok(())
        }
    }
}
