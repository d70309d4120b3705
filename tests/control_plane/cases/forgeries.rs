//! Forged requests with stolen node credentials, against an installation that serves a fleet.
//!
//! The table is `forgeries.yaml`.

mod final_checks;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::forgery::{Attacker, Expect, Forgery};
use super::issued_certificates;
use crate::{BINARY, Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::decision_log;
use control_plane::fleet::{self, Fleet};
use control_plane::install::Installation;
use control_plane::netns;
use control_plane::node_user::{
    NewRequest, NodeUser, issued, report, settled, wait_until_later_than,
};
use final_checks::is_denied;
use testkit::forge::Recipe;
use testkit::forge::octets::IpOctets;

const SOON: Duration = Duration::from_secs(60);
/// The maximum number of concurrent forgeries.
const AT_ONCE: usize = 8;
/// The number of requests of the flooding node.
const FLOOD: usize = 200;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "forgeries_are_refused",
        Needs::OwnNetwork,
        forgeries_are_refused,
    )]
}

impl Attacker {
    /// Removes all claimed addresses from its Node.
    async fn withdraw(&self) -> Result<()> {
        let addresses = own_addresses(&self.name, &self.address);
        report(&self.client, &self.name, &addresses).await
    }
}

/// The state that all forgeries share.
struct ForgeryTest<'a> {
    cluster: &'a Cluster,
    admin: Client,
    daemon: &'a Daemon,
}

async fn forgeries_are_refused(assets: Arc<Assets>) -> Result<()> {
    let table: Vec<Forgery> = serde_saphyr::from_str(include_str!("forgeries.yaml"))?;
    let options = Options {
        advertise: Some(netns::ADDRESS),
        extra_sans: vec!["api.example.com".into(), "203.0.113.7".into()],
        cluster_domain: "k8s.example".into(),
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
    let mut daemon = installation.start("csr-warden", &[])?;
    daemon.wait_ready(SOON).await?;
    cluster.apply(ANYONE_MAY_ASK).await?;

    let fleet_options = fleet::Options {
        prefix: "genuine".into(),
        dual_stack: true,
        dns_suffix: Some("nodes.example".into()),
        ..fleet::Options::nodes(KUBELETS)
    };
    let mut fleet = Fleet::start(&assets, &cluster, &fleet_options)?;
    let test = ForgeryTest {
        cluster: &cluster,
        admin: cluster.admin(),
        daemon: &daemon,
    };
    test.shared_attacker().await?;
    test.victim().await?;

    let over = AtomicBool::new(false);
    let attack = async {
        let entries = || table.iter().enumerate();
        let claims_nothing = entries().filter(|(_, forgery)| forgery.claims.is_empty());
        let posts = claims_nothing.map(|(index, forgery)| test.forge(index, forgery));
        let mut failures: Vec<Option<String>> = futures::stream::iter(posts)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        // One after the other: a claimed address is a finding in the requests of other nodes.
        for (index, forgery) in entries().filter(|(_, forgery)| !forgery.claims.is_empty()) {
            failures.push(test.forge(index, forgery).await);
        }
        let flood = test.flood().await;
        over.store(true, Ordering::Relaxed);
        (failures, flood)
    };
    let ((failures, flood), rounds) = tokio::join!(attack, serve(&mut fleet, &over));
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    flood?;
    ensure!(rounds? >= 2, "the fleet was served without an attack");
    ensure!(fleet.errors().is_empty(), "{:?}", fleet.errors());

    test.nothing_changed_since(&table).await?;
    test.only_forgeries_were_refused()?;
    let served = test.served().await?;
    let (certificates, nodes) = issued_certificates::check(&test.admin, &served).await?;
    ensure!(
        certificates > nodes && nodes > KUBELETS,
        "{certificates} certificates of {nodes} nodes"
    );
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// The number of kubelets that continuously renew during the attack.
const KUBELETS: usize = 200;

/// A role for requestors that may not create requests by default.
pub(super) const ANYONE_MAY_ASK: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: anyone-may-ask}
rules:
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: anyone-may-ask}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: anyone-may-ask}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:authenticated}
";

/// Renews all certificates of the fleet continuously.
async fn serve(fleet: &mut Fleet, over: &AtomicBool) -> Result<usize> {
    fleet.wait_all_issued(SOON).await?;
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        fleet.rotate_all()?;
        fleet.wait_all_issued(SOON).await?;
        rounds += 1;
    }
    Ok(rounds)
}

fn own_addresses(name: &str, address: &str) -> Vec<String> {
    vec![format!("Hostname {name}"), format!("InternalIP {address}")]
}

fn recipe_for(name: &str, address: &str, key_seed: &str) -> Result<String> {
    let mut recipe = Recipe::genuine(name, &[name], &[address.parse()?]);
    recipe.key_seed = Some(key_seed.to_owned());
    Ok(recipe.pem())
}

impl ForgeryTest<'_> {
    /// Creates the node that the attackers pose as.
    async fn victim(&self) -> Result<()> {
        let victim = NodeUser::new(self.cluster, "victim").await?;
        let created = victim.register().await?;
        let mut addresses = own_addresses("victim", "10.77.0.1");
        addresses.push("ExternalDNS victim.nodes.example".into());
        victim.report(&addresses).await?;
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let pods = json!({"spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}});
        nodes
            .patch("victim", &PatchParams::default(), &Patch::Merge(pods))
            .await?;
        let pem = recipe_for("victim", "10.77.0.1", "victim")?;
        victim.post(&NewRequest::new("own-victim", pem)).await?;
        issued(&self.admin, "own-victim").await?;
        wait_until_later_than(&self.admin, created).await
    }

    /// Creates the node of the prepared requests.
    async fn shared_attacker(&self) -> Result<()> {
        self.attacker("node-1", "10.0.0.1", &[]).await.map(|_| ())
    }

    /// Creates a node with these addresses that csr-warden has seen: it has a certificate for its
    /// own address.
    async fn attacker(&self, name: &str, address: &str, claims: &[String]) -> Result<Attacker> {
        let user = NodeUser::new(self.cluster, name).await?;
        user.register().await?;
        let mut addresses = own_addresses(name, address);
        addresses.extend_from_slice(claims);
        user.report(&addresses).await?;
        let own = format!("own-{name}");
        let pem = recipe_for(name, address, &own)?;
        user.post(&NewRequest::new(&own, pem)).await?;
        issued(&self.admin, &own).await?;
        Ok(Attacker {
            name: name.to_owned(),
            address: address.to_owned(),
            client: user.client().clone(),
        })
    }

    /// Posts a forgery and waits for its outcome. Returns the difference from the expected one.
    async fn forge(&self, index: usize, forgery: &Forgery) -> Option<String> {
        let outcome = self.try_forge(index, forgery).await;
        let error = outcome.err()?;
        Some(format!("row {}, {}: {error:#}", forgery.row, forgery.shape))
    }

    async fn try_forge(&self, index: usize, forgery: &Forgery) -> Result<()> {
        let attacker = match (&forgery.node, &forgery.user) {
            (Some(node), _) => Attacker {
                name: node.clone(),
                address: "10.0.0.1".into(),
                client: NodeUser::new(self.cluster, node).await?.client().clone(),
            },
            (None, None) => {
                let (name, address) =
                    (format!("mallory-{index}"), format!("10.66.0.{}", index + 1));
                self.attacker(&name, &address, &forgery.claims).await?
            }
            (None, Some(user)) => {
                let name = format!("mallory-{index}");
                let groups: Vec<&str> = forgery.groups.iter().map(String::as_str).collect();
                let user = user.replace("NODE", &name);
                Attacker {
                    client: self.cluster.client_for(&user, &groups).await?,
                    name,
                    address: "10.66.255.1".into(),
                }
            }
        };
        let request = request_name(index);
        let posted = forgery
            .ask(&request, &attacker)?
            .post(&attacker.client)
            .await;
        let became = match (&forgery.expect, posted) {
            (Expect::Refused(code), Err(kube::Error::Api(status))) if status.code == *code => {
                Ok(())
            }
            (Expect::Refused(code), other) => {
                let other = other.map(|request| request.metadata.name);
                Err(anyhow!(
                    "expected the API server to answer {code}, found {other:?}"
                ))
            }
            (_, Err(error)) => Err(anyhow!("the API server does not take it: {error}")),
            (expected, Ok(_)) => self.becomes(&request, expected).await,
        };
        if !forgery.claims.is_empty() {
            attacker.withdraw().await?;
        }
        became
    }

    async fn becomes(&self, request: &str, expected: &Expect) -> Result<()> {
        let output = self.daemon.stdout();
        match expected {
            Expect::Denied(codes) => {
                decision_log::expect(output, request, "Deny", codes).await?;
                let denied = settled(&self.admin, request, "Denied").await?;
                is_denied(&denied, codes)
            }
            Expect::Waits(codes) => decision_log::expect(output, request, "Wait", codes).await,
            Expect::Ignored(codes) => decision_log::expect(output, request, "Ignore", codes).await,
            Expect::Unseen | Expect::Refused(_) => Ok(()),
        }
    }

    /// One node continuously requests the API server's address while the fleet is served.
    async fn flood(&self) -> Result<()> {
        let attacker = self.attacker("flood", "10.66.1.1", &[]).await?;
        let post = |index: usize| {
            let mut recipe = Recipe::genuine("flood", &["flood"], &[]);
            recipe.ip.push(IpOctets(vec![10, 96, 0, 1]));
            let ask = NewRequest::new(&format!("flood-{index}"), recipe.pem());
            let client = attacker.client.clone();
            async move { ask.post(&client).await }
        };
        let posted: Vec<CertificateSigningRequest> =
            futures::stream::iter((0..FLOOD - 1).map(post))
                .buffer_unordered(16)
                .try_collect()
                .await?;
        let dates = posted
            .iter()
            .filter_map(|one| one.metadata.creation_timestamp.as_ref());
        if let Some(newest) = dates.map(|date| date.0).max() {
            wait_until_later_than(&self.admin, newest).await?;
        }
        // The newest request is judged. Older ones that were displaced may stay pending.
        post(FLOOD - 1).await?;
        let last = format!("flood-{}", FLOOD - 1);
        let codes = ["SanServiceAddress", "SanNotOfNode"];
        let last_is_denied = decision_log::expect(self.daemon.stdout(), &last, "Deny", &codes);
        last_is_denied.await
    }
}

fn request_name(index: usize) -> String {
    format!("forged-{index}")
}
