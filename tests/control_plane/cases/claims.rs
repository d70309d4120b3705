//! Two stolen credentials claim the names and addresses of all honest nodes. No node loses a certificate by
//! that: not while the nodes renew, nor after a restart, nor under another leader.

mod served_certificates;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::node_user::{NewRequest, NodeUser, issued};
use testkit::forge::Recipe;

const HONEST: u8 = 50;
/// The address of a node that joins after the liars have claimed it.
const SQUATTED: u8 = 60;
/// The deadline for a process to exit.
const END: Duration = Duration::from_secs(5);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("claims_have_owners", Needs::Nothing, claims_have_owners),
        Case::new(
            "served_certificates_decide_claims",
            Needs::OwnNetwork,
            served_certificates::decide_claims,
        ),
    ]
}

struct Claims {
    test: TestCluster,
    honest: Vec<(NodeUser, String)>,
    liars: Vec<NodeUser>,
}

fn address(index: u8) -> String {
    format!("10.50.0.{index}")
}

async fn claims_have_owners(assets: Arc<Assets>) -> Result<()> {
    let test = TestCluster::new(&assets).await?;
    // A liar whose Node is older than all others, and one whose Node is younger.
    let old = test.node("aaa-old", &["10.50.9.1"]).await?;
    let mut one = test.installation.start("one", &[])?;
    one.wait_ready(SOON).await?;
    let mut honest = Vec::new();
    for index in 1..=HONEST {
        let ip = address(index);
        honest.push((test.node(&format!("honest-{index}"), &[&ip]).await?, ip));
    }
    let young = test.node("zzz-young", &["10.50.9.2"]).await?;
    let claims = Claims {
        test,
        honest,
        liars: vec![old, young],
    };
    claims.service_names_wait(&one).await?;
    claims.all_renew("first").await?;
    claims.liars_claim_everything().await?;
    claims.all_renew("beside-liars").await?;
    let contested = &["SanContested"];
    claims.liars_get_nothing(&one, "at-once", contested).await?;
    claims.one_is_lost_and_renews().await?;
    claims.a_new_node_waits_and_is_told().await?;

    let restarted = claims.restart(one).await?;
    claims.all_renew("after-restart").await?;
    // Of one list: each liar is in the way of the other, too.
    let contested = &["SanPodAddress", "SanContested"];
    claims
        .liars_get_nothing(&restarted, "after-restart", contested)
        .await?;

    let mut standby = claims.test.installation.start("two", &[])?;
    standby.wait_ready(SOON).await?;
    let mut leader = restarted;
    leader.sigterm(END).await?;
    claims.all_renew("other-leader").await?;
    claims
        .liars_get_nothing(&standby, "other-leader", contested)
        .await?;
    standby.sigterm(END).await?;
    Ok(())
}

impl Claims {
    /// A node has a name of two labels, of which the second is a Namespace.
    async fn service_names_wait(&self, daemon: &Daemon) -> Result<()> {
        let cluster = &self.test.cluster;
        cluster.kubectl(&["create", "namespace", "prod"]).await?;
        let node = self.test.node("names", &["10.50.8.1"]).await?;
        let addresses = [
            "Hostname names",
            "InternalIP 10.50.8.1",
            "ExternalDNS vault.prod",
        ];
        node.report(&addresses).await?;
        let ip = "10.50.8.1".parse()?;
        let recipe = Recipe::genuine("names", &["names", "vault.prod"], &[ip]);
        node.post(&NewRequest::new("like-a-service", recipe.pem()))
            .await?;
        let codes = &["SanLooksLikeService"];
        self.test.waits(daemon, "like-a-service", codes).await
    }

    /// Every honest node asks for a certificate and gets it.
    async fn all_renew(&self, round: &str) -> Result<()> {
        for (node, ip) in &self.honest {
            let request = format!("{}-{round}", node.name);
            self.test.ask(node, &request, &[ip]).await?;
        }
        for (node, _) in &self.honest {
            let request = format!("{}-{round}", node.name);
            let approved = self.test.is_approved(&request).await;
            approved.with_context(|| format!("{request} is not approved"))?;
            issued(&self.test.admin, &request).await?;
        }
        Ok(())
    }

    /// Each liar writes every honest address, and a pod network around them, into its own Node.
    async fn liars_claim_everything(&self) -> Result<()> {
        let all = (1..=HONEST).chain([SQUATTED]).map(address);
        let mut claimed: Vec<String> = all.map(|ip| format!("ExternalIP {ip}")).collect();
        for (index, liar) in self.liars.iter().enumerate() {
            claimed.truncate(usize::from(HONEST) + 1);
            claimed.push(format!("InternalIP 10.50.9.{}", index + 1));
            claimed.push(format!("Hostname {}", liar.name));
            liar.report(&claimed).await?;
            let nodes: Api<Node> = Api::all(liar.client().clone());
            let network =
                json!({"spec": {"podCIDR": "10.50.0.0/16", "podCIDRs": ["10.50.0.0/16"]}});
            nodes
                .patch(
                    &liar.name,
                    &PatchParams::default(),
                    &Patch::Strategic(network),
                )
                .await?;
        }
        Ok(())
    }

    /// Each liar asks for an honest node's address. It waits, under the code of contested names.
    async fn liars_get_nothing(&self, daemon: &Daemon, round: &str, codes: &[&str]) -> Result<()> {
        for (index, liar) in self.liars.iter().enumerate() {
            let request = format!("{}-{round}", liar.name);
            let own = format!("10.50.9.{}", index + 1);
            self.test.ask(liar, &request, &[&own, &address(7)]).await?;
            self.test.waits(daemon, &request, codes).await?;
        }
        Ok(())
    }

    /// The control plane loses contact with an honest node, as in a reboot, and finds it again.
    async fn one_is_lost_and_renews(&self) -> Result<()> {
        let (node, ip) = self.honest.first().context("a node")?;
        self.ready(&node.name, "Unknown").await?;
        self.ready(&node.name, "True").await?;
        self.test.ask(node, "back-again", &[ip]).await?;
        self.test.is_approved("back-again").await
    }

    async fn ready(&self, node: &str, status: &str) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.test.admin.clone());
        let condition = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        let patch = Patch::Strategic(condition);
        nodes
            .patch_status(node, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// A node joins at an address that the liars claimed before. It waits, an Event names both, and it is
    /// approved once the lie ends.
    async fn a_new_node_waits_and_is_told(&self) -> Result<()> {
        let ip = address(SQUATTED);
        let node = self.test.node("late", &[&ip]).await?;
        self.test.ask(&node, "late-asks", &[&ip]).await?;
        let both = ["aaa-old", "Node late"];
        self.test.is_reported("late-asks", &both).await?;
        let nodes: Api<Node> = Api::all(self.test.admin.clone());
        self.test.ask(&node, "late-asks-again", &[&ip]).await?;
        for liar in &self.liars {
            nodes.delete(&liar.name, &DeleteParams::default()).await?;
        }
        self.test.is_approved("late-asks-again").await?;
        // The liars' kubelets register again and claim everything again: later than everybody.
        for liar in &self.liars {
            liar.register().await?;
        }
        self.liars_claim_everything().await
    }

    /// Stops the only replica, and starts another one that has seen no order.
    async fn restart(&self, mut daemon: Daemon) -> Result<Daemon> {
        daemon.sigterm(END).await?;
        let mut restarted = self.test.installation.start("one-again", &[])?;
        restarted.wait_ready(SOON).await?;
        Ok(restarted)
    }
}
