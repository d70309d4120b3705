//! A cluster with csr-warden's permissions, and node users that control their own Nodes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;

use crate::BINARY;
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use control_plane::daemon::Daemon;
use control_plane::decision_log;
use control_plane::install::Installation;
use control_plane::kubelet_port;
use control_plane::node_user::{
    NewRequest, NodeUser, has_no_conditions, issued, settled, wait_until_later_than,
};
use testkit::forge::Recipe;

/// The deadline for any step.
pub const SOON: Duration = Duration::from_secs(60);
const COMPONENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/components");

/// A cluster with an installation and an administrator.
pub struct TestCluster {
    pub cluster: Cluster,
    pub installation: Installation,
    pub admin: Client,
}

impl TestCluster {
    pub async fn new(assets: &Assets) -> Result<TestCluster> {
        Self::with(assets, Options::default()).await
    }

    pub async fn with(assets: &Assets, options: Options) -> Result<TestCluster> {
        let cluster = Cluster::start(assets, options).await?;
        Ok(TestCluster {
            installation: Installation::apply(&cluster, Path::new(BINARY)).await?,
            admin: cluster.admin(),
            cluster,
        })
    }

    /// Creates a node whose kubelet has reported these addresses.
    pub async fn node(&self, name: &str, ips: &[&str]) -> Result<NodeUser> {
        let user = NodeUser::new(&self.cluster, name).await?;
        let created = user.register().await?;
        let mut addresses = vec![format!("Hostname {name}")];
        addresses.extend(ips.iter().map(|ip| format!("InternalIP {ip}")));
        user.report(&addresses).await?;
        wait_until_later_than(&self.admin, created).await?;
        Ok(user)
    }

    /// Posts the request of a kubelet with these addresses.
    pub async fn ask(&self, user: &NodeUser, request: &str, ips: &[&str]) -> Result<()> {
        let ips: Vec<_> = ips.iter().map(|ip| ip.parse()).collect::<Result<_, _>>()?;
        let recipe = Recipe::genuine(&user.name, &[&user.name], &ips);
        user.post(&NewRequest::new(request, recipe.pem())).await?;
        Ok(())
    }

    /// Lets an administrator approve a request without a check. Returns the certificate and its key.
    pub async fn certificate(
        &self,
        user: &NodeUser,
        request: &str,
        dns: &[&str],
        ips: &[Ipv4Addr],
    ) -> Result<(Vec<u8>, String)> {
        let (pem, key) = kubelet_port::request(&user.name, dns, ips)?;
        user.post(&NewRequest::new(request, pem)).await?;
        self.cluster
            .kubectl(&["certificate", "approve", request])
            .await?;
        Ok((issued(&self.admin, request).await?, key))
    }

    /// Waits for an Event of this request whose note has all these words.
    pub async fn is_reported(&self, request: &str, words: &[&str]) -> Result<()> {
        let api: Api<Event> = Api::default_namespaced(self.admin.clone());
        let begun = Instant::now();
        loop {
            let events = api.list(&ListParams::default()).await?.items;
            let says = |event: &Event| {
                let regarding = event.regarding.as_ref();
                let of = regarding.and_then(|object| object.name.as_deref());
                let note = event.note.as_deref().unwrap_or_default();
                of == Some(request) && words.iter().all(|word| note.contains(word))
            };
            if events.iter().any(says) {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < SOON,
                "{request}: no Event says {words:?}: {events:?}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn is_approved(&self, request: &str) -> Result<()> {
        settled(&self.admin, request, "Approved").await.map(drop)
    }

    pub async fn is_denied(&self, daemon: &Daemon, request: &str, codes: &[&str]) -> Result<()> {
        decision_log::expect(daemon.stdout(), request, "Deny", codes).await?;
        settled(&self.admin, request, "Denied").await.map(drop)
    }

    pub async fn waits(&self, daemon: &Daemon, request: &str, codes: &[&str]) -> Result<()> {
        decision_log::expect(daemon.stdout(), request, "Wait", codes).await
    }

    pub async fn has_no_conditions(&self, request: &str) -> Result<()> {
        let requests: Api<CertificateSigningRequest> = Api::all(self.admin.clone());
        let found = requests.get(request).await?;
        ensure!(has_no_conditions(&found), "{request}: {:?}", found.status);
        Ok(())
    }

    pub async fn provider_id(&self, node: &str, id: &str) -> Result<()> {
        let patch = json!({"spec": {"providerID": id}}).to_string();
        self.cluster
            .kubectl(&["patch", "node", node, "--type=merge", "-p", &patch])
            .await?;
        Ok(())
    }

    pub async fn grants(&self, component: &str) -> Result<()> {
        let rights = format!("{COMPONENTS}/{component}/rights.yaml");
        self.cluster.kubectl(&["apply", "-f", &rights]).await?;
        Ok(())
    }
}
