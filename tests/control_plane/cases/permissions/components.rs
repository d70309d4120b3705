//! The permissions of the components in `deploy/`, each tested with its feature.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::roles::Role;
use super::{END, SOON, USER};
use crate::cases::machines::{KINDS, MachineOf, Machines};
use crate::cases::test_cluster::TestCluster;
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::https::Https;
use control_plane::manifests::{ROOT, objects};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SCRAPER: &str = "system:serviceaccount:default:scraper";
const MISSING: &str = "a permission is missing";

/// The feature that uses the permissions of a component.
enum Use {
    /// Machines, with the shipped policy for this kind.
    Machines(&'static MachineOf),
    /// `--metrics-auth`.
    Metrics,
}

impl Use {
    fn of(component: &str) -> Result<Self> {
        if component == "metrics-auth" {
            return Ok(Self::Metrics);
        }
        let kind = KINDS.iter().find(|kind| kind.policy == component);
        let kind =
            kind.with_context(|| format!("nothing here uses the component `{component}`"))?;
        Ok(Self::Machines(kind))
    }
}

/// Returns the ClusterRoles of every component with permissions. There is no other kind of role.
fn granted() -> Result<BTreeMap<String, Vec<String>>> {
    let mut granted = BTreeMap::new();
    for component in std::fs::read_dir(Path::new(ROOT).join("deploy/components"))? {
        let component = component?;
        let mut roles = Vec::new();
        for file in std::fs::read_dir(component.path())? {
            let text = std::fs::read_to_string(file?.path())?;
            if !text.contains("rbac.authorization.k8s.io/v1") {
                continue;
            }
            for key in objects(&text)?.into_keys() {
                match key.split_once(" /").context("a namespace")? {
                    ("ClusterRole", name) => roles.push(name.to_owned()),
                    ("ClusterRoleBinding", _) => {}
                    (other, _) => anyhow::bail!("{other} is not looked at"),
                }
            }
        }
        if !roles.is_empty() {
            let name = component.file_name().to_string_lossy().into_owned();
            granted.insert(name, roles);
        }
    }
    Ok(granted)
}

/// Returns a policy that reads Machines of all kinds.
fn all_kinds() -> Result<Value> {
    let mut kinds = Vec::new();
    for kind in &KINDS {
        let file = format!("{ROOT}/policies/{}.yaml", kind.policy);
        let policy: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        let more = policy["spec"]["sources"]["machines"].as_array();
        kinds.extend(more.context("machines")?.iter().cloned());
    }
    Ok(json!({
        "apiVersion": "csr-warden.dev/v1beta1",
        "kind": "Policy",
        "metadata": {"name": "all-kinds"},
        "spec": {
            "sources": {"machines": kinds},
            "proof": {"ipAddresses": {"allOf": ["Machine"]}},
        },
    }))
}

struct PermissionTest {
    test_cluster: TestCluster,
    /// The flags that enable authorization of metrics.
    flags: Vec<String>,
}

impl PermissionTest {
    async fn start(assets: &Assets) -> Result<Self> {
        let test_cluster = TestCluster::new(assets).await?;
        for kind in &KINDS {
            let (group, version) = (kind.group, kind.version);
            Machines::install(&test_cluster, group, version, kind.kind, kind.namespace).await?;
        }
        let authority = test_cluster.cluster.authority();
        let pair = authority.serving("metrics", &[], &[HERE])?;
        let flags = vec![
            format!("--tls-cert-file={}", pair.cert.display()),
            format!("--tls-private-key-file={}", pair.key.display()),
            "--metrics-auth".into(),
        ];
        for command in [
            "create serviceaccount scraper -n default",
            "create clusterrolebinding scraper --clusterrole=csr-warden-metrics-reader \
             --serviceaccount=default:scraper",
        ] {
            let command: Vec<&str> = command.split_whitespace().collect();
            test_cluster.cluster.kubectl(&command).await?;
        }
        Ok(Self {
            test_cluster,
            flags,
        })
    }

    fn daemon(&self, name: &str, args: &[&str]) -> Result<Daemon> {
        self.test_cluster.installation.start(name, args)
    }

    fn daemon_with_metrics(&self, name: &str, args: &[&str]) -> Result<Daemon> {
        let flags = self.flags.iter().map(String::as_str);
        let args: Vec<&str> = flags.chain(args.iter().copied()).collect();
        self.daemon(name, &args)
    }

    fn https(&self, daemon: &Daemon) -> Result<Https> {
        let authority = self.test_cluster.cluster.authority().pair();
        Https::new(daemon.address(), &authority.cert)
    }

    /// Returns a token that no daemon has seen yet.
    async fn token(&self) -> Result<String> {
        self.test_cluster.cluster.token("default", "scraper").await
    }

    /// Checks that with all permissions, nothing is forbidden.
    async fn is_enough(&self) -> Result<()> {
        let policy = self.test_cluster.cluster.dir().join("all-kinds.yaml");
        std::fs::write(&policy, all_kinds()?.to_string())?;
        let policy = format!("--policy={}", policy.display());
        let mut daemon = self.daemon_with_metrics("everything", &[&policy])?;
        let https = self.https(&daemon)?;
        https.wait("/readyz", None, 200, SOON).await?;
        let token = self.token().await?;
        let (answer, _) = https.get("/metrics", Some(&token)).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let synced = "csr_warden_source_synced{source=\"machines\"} 1";
        ensure!(answer.body.contains(synced), "{}", answer.body);
        daemon.sigterm(END).await?;
        for word in ["forbidden", "permission", "Forbidden", "WARN", "ERROR"] {
            let lines = daemon.stderr().containing(word);
            ensure!(lines.is_empty(), "{lines:#?}");
        }
        Ok(())
    }

    /// Checks that without this rule the daemon names the permission. Once it is granted, the same
    /// process recovers.
    async fn is_missed(&self, used: &Use, role: &Role<'_>, without: usize) -> Result<()> {
        let rules = role.rules().await?;
        let rule = rules.get(without).context("rule")?;
        let mut fewer = rules.clone();
        fewer.remove(without);
        let user = match &rule.non_resource_urls {
            Some(_) => SCRAPER,
            None => USER,
        };
        role.set(&fewer).await?;
        role.wait_allowed(user, rule, false).await?;
        let restore = async || {
            role.set(&rules).await?;
            role.wait_allowed(user, rule, true).await
        };
        let daemon = match used {
            Use::Machines(kind) => self.machines_missed(kind, rule, restore).await,
            Use::Metrics => self.metrics_missed(rule, restore).await,
        };
        daemon?.sigterm(END).await?;
        Ok(())
    }

    async fn machines_missed(
        &self,
        kind: &MachineOf,
        rule: &PolicyRule,
        restore: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Daemon> {
        let mut daemon = self.daemon(kind.policy, &["--policy", kind.policy])?;
        let kind = format!("{}.{}", kind.kind, kind.group);
        let why = format!("cannot be read: {kind}: {MISSING}: {}", resource(rule)?);
        daemon
            .wait_for_log(&format!("machines {why}"), SOON)
            .await?;
        let unready = format!("machines: {why}");
        daemon.wait_unready(&unready, SOON).await?;
        restore().await?;
        daemon.wait_ready(SOON).await?;
        Ok(daemon)
    }

    async fn metrics_missed(
        &self,
        rule: &PolicyRule,
        restore: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Daemon> {
        let daemon = self.daemon_with_metrics("metrics", &[])?;
        let https = self.https(&daemon)?;
        https.wait("/readyz", None, 200, SOON).await?;
        let token = self.token().await?;
        let (answer, _) = https.get("/metrics", Some(&token)).await?;
        if rule.non_resource_urls.is_some() {
            let why = format!("{SCRAPER} may not get the nonResourceURL /metrics");
            let told = answer.status == 403 && answer.body.trim() == why;
            ensure!(told, "{answer:?}");
        } else {
            ensure!(answer.status == 503, "{answer:?}");
            let asks = "cannot check who may read the metrics";
            let why = format!("{asks}: {MISSING}: {}", resource(rule)?);
            daemon.wait_for_log(&why, SOON).await?;
        }
        restore().await?;
        https.wait("/metrics", Some(&token), 200, SOON).await?;
        Ok(daemon)
    }
}

/// Returns the API server's name of the first resource of a rule.
fn resource(rule: &PolicyRule) -> Result<String> {
    let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|l| l.first().cloned());
    let resource = first(&rule.resources).context("resources")?;
    let group = first(&rule.api_groups).context("apiGroups")?;
    Ok(format!("{resource}.{group} is forbidden"))
}

pub async fn are_missed(assets: Arc<Assets>) -> Result<()> {
    let test = PermissionTest::start(&assets).await?;
    let granted = granted()?;
    for component in granted.keys() {
        test.test_cluster.grants(component).await?;
    }
    test.is_enough().await?;
    for (component, roles) in &granted {
        let used = Use::of(component)?;
        for name in roles {
            let role = Role::new(&test.test_cluster.cluster, None, name);
            for index in 0..role.rules().await?.len() {
                let missed = test.is_missed(&used, &role, index).await;
                missed.with_context(|| format!("{name} without rule {index}"))?;
            }
        }
    }
    Ok(())
}
