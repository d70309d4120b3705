//! Machines: missing, late, incomplete, contradictory, and of every kind with a policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("sources_machines", Needs::Nothing, machines),
        Case::new(
            "sources_machines_of_every_kind",
            Needs::Nothing,
            machines_of_every_kind,
        ),
    ]
}

/// Renders a CustomResourceDefinition that accepts any object.
pub fn definition(group: &str, version: &str, kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

pub struct Machines {
    api: Api<DynamicObject>,
    resource: ApiResource,
}

impl Machines {
    pub async fn install(
        test_cluster: &TestCluster,
        group: &str,
        version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<Machines> {
        let definition = definition(group, version, kind);
        test_cluster.cluster.apply(&definition.to_string()).await?;
        let name = definition["metadata"]["name"].as_str().context("name")?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
        let crd = format!("crd/{name}");
        test_cluster
            .cluster
            .kubectl(&[wait.as_slice(), &[&crd]].concat())
            .await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = Api::namespaced_with(test_cluster.admin.clone(), namespace, &resource);
        // Its storage is ready later than the condition Established.
        let begun = Instant::now();
        while let Err(error) = api.list(&ListParams::default()).await {
            ensure!(begun.elapsed() < SOON, "{name}: {error}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Machines { api, resource })
    }

    /// Creates a Machine with its spec and status.
    async fn create(&self, name: &str, object: Value) -> Result<()> {
        let mut fresh = DynamicObject::new(name, &self.resource);
        fresh.data = json!({"spec": object["spec"]});
        let labels = &object["metadata"]["labels"];
        fresh.metadata.labels = serde_json::from_value(labels.clone())?;
        self.api.create(&PostParams::default(), &fresh).await?;
        self.status(name, object["status"].clone()).await
    }

    async fn status(&self, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.api
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

/// Renders a Machine of Cluster API.
fn machine(node: &str, provider_id: &str, ips: &[&str]) -> Value {
    let addresses: Vec<Value> = ips
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    json!({
        "spec": {"clusterName": "c1", "providerID": provider_id},
        "status": {"nodeRef": {"name": node}, "addresses": addresses},
    })
}

async fn machines(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    test_cluster.grants("cluster-api").await?;
    let mut daemon = test_cluster
        .installation
        .start("csr-warden", &["--policy", "cluster-api"])?;
    let absent = "machines: cannot be read: Machine.cluster.x-k8s.io: the API server has no API \
                  group cluster.x-k8s.io";
    daemon.wait_unready(absent, SOON).await?;
    let user = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.provider_id("n1", "test://1").await?;
    test_cluster.ask(&user, "early", &["10.0.0.1"]).await?;
    test_cluster
        .waits(&daemon, "early", &["SourceUnready"])
        .await?;

    let machines = Machines::install(
        &test_cluster,
        "cluster.x-k8s.io",
        "v1beta1",
        "Machine",
        "default",
    )
    .await?;
    daemon.wait_ready(SOON).await?;
    test_cluster
        .waits(&daemon, "early", &["MachineMissing"])
        .await?;
    let mut late = machine("n1", "test://1", &[]);
    machines.create("m1", late.clone()).await?;
    test_cluster
        .waits(&daemon, "early", &["MachineIncomplete"])
        .await?;
    late = machine("n1", "test://1", &["10.0.0.1"]);
    machines.status("m1", late["status"].clone()).await?;
    test_cluster.is_approved("early").await?;

    // The attack that succeeds under the default policy: an address that no node claims.
    user.report(&["Hostname n1", "InternalIP 10.0.0.1", "InternalIP 10.0.0.77"])
        .await?;
    test_cluster
        .ask(&user, "stolen", &["10.0.0.1", "10.0.0.77"])
        .await?;
    test_cluster
        .waits(&daemon, "stolen", &["SanUncorroborated"])
        .await?;

    let other = test_cluster.node("n2", &["10.0.0.2"]).await?;
    test_cluster.provider_id("n2", "test://other").await?;
    machines
        .create("m2", machine("n2", "test://2", &["10.0.0.2"]))
        .await?;
    test_cluster
        .ask(&other, "another-instance", &["10.0.0.2"])
        .await?;
    test_cluster
        .is_denied(&daemon, "another-instance", &["MachineProviderIdMismatch"])
        .await?;

    let third = test_cluster.node("n3", &["10.0.0.3"]).await?;
    test_cluster.provider_id("n3", "test://3").await?;
    machines
        .create("m3", machine("n3", "test://3", &["10.0.0.3"]))
        .await?;
    machines
        .create("m4", machine("n3", "test://3", &["10.0.0.3"]))
        .await?;
    test_cluster
        .ask(&third, "two-machines", &["10.0.0.3"])
        .await?;
    test_cluster
        .is_denied(&daemon, "two-machines", &["MachineRepeated"])
        .await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

/// A kind of Machine that the policies name, as its controller fills it for a node.
pub struct MachineOf {
    pub policy: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub namespace: &'static str,
    /// False if its controller usually lists no addresses.
    lists_addresses: bool,
    of: fn(&str, &str, &str) -> Value,
}

fn addresses(ip: &str) -> Value {
    json!([{"type": "InternalIP", "address": ip}])
}

pub const KINDS: [MachineOf; 4] = [
    MachineOf {
        policy: "cluster-api",
        group: "cluster.x-k8s.io",
        version: "v1beta2",
        kind: "Machine",
        namespace: "default",
        lists_addresses: true,
        of: |node, id, ip| {
            json!({
                "spec": {"providerID": id},
                "status": {"nodeRef": {"name": node}, "addresses": addresses(ip)},
            })
        },
    },
    MachineOf {
        policy: "openshift",
        group: "machine.openshift.io",
        version: "v1beta1",
        kind: "Machine",
        namespace: "openshift-machine-api",
        lists_addresses: true,
        of: |node, id, ip| {
            json!({
                "spec": {"providerID": id},
                "status": {
                    "nodeRef": {"kind": "Node", "name": node, "uid": "u"},
                    "addresses": addresses(ip),
                },
            })
        },
    },
    MachineOf {
        policy: "metal3",
        group: "infrastructure.cluster.x-k8s.io",
        version: "v1beta1",
        kind: "Metal3Machine",
        namespace: "default",
        lists_addresses: true,
        of: |_, id, ip| json!({"spec": {"providerID": id}, "status": {"addresses": addresses(ip)}}),
    },
    MachineOf {
        policy: "gardener",
        group: "machine.sapcloud.io",
        version: "v1alpha1",
        kind: "Machine",
        namespace: "shoot--p--s",
        lists_addresses: false,
        of: |node, id, _| {
            json!({
                "metadata": {"labels": {"node": node}},
                "spec": {"providerID": id},
                "status": {"currentStatus": {"phase": "Running"}},
            })
        },
    },
];

/// Each kind with its shipped policy. The Machines are in another cluster than the nodes.
async fn machines_of_every_kind(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let management = TestCluster::new(&assets).await?;
    for (index, kind) in KINDS.iter().enumerate() {
        let name = format!("n-{}", kind.policy);
        let ips = [format!("10.0.{index}.1"), format!("10.0.{index}.77")];
        management.grants(kind.policy).await?;
        let namespace = ["create", "namespace", kind.namespace];
        let _ = management.cluster.kubectl(&namespace).await;
        let machines = Machines::install(
            &management,
            kind.group,
            kind.version,
            kind.kind,
            kind.namespace,
        )
        .await?;
        let far = management.installation.kubeconfig();
        let far = far.to_str().context("a path that is no text")?;
        let args = ["--policy", kind.policy, "--machines-kubeconfig", far];
        let mut daemon = test_cluster.installation.start(&name, &args)?;
        daemon.wait_ready(SOON).await?;

        let user = test_cluster.node(&name, &[&ips[0]]).await?;
        let id = format!("test://{index}");
        test_cluster.provider_id(&name, &id).await?;
        test_cluster.ask(&user, &name, &[&ips[0]]).await?;
        let late: &[&str] = &["MachineMissing"];
        test_cluster.waits(&daemon, &name, late).await?;
        let machine = (kind.of)(&name, &id, &ips[0]);
        machines.create("m1", machine).await?;
        test_cluster.is_approved(&name).await?;

        if !kind.lists_addresses {
            // A second Machine does not make it two nodes.
            let machine = (kind.of)(&name, &id, &ips[0]);
            machines.create("m2", machine).await?;
            let twice = format!("{name}-twice");
            test_cluster.ask(&user, &twice, &[&ips[0]]).await?;
            test_cluster
                .is_denied(&daemon, &twice, &["MachineRepeated"])
                .await?;
            daemon.sigterm(Duration::from_secs(5)).await?;
            continue;
        }
        let both = ips.iter().map(|ip| format!("InternalIP {ip}"));
        let addresses: Vec<String> = [format!("Hostname {name}")]
            .into_iter()
            .chain(both)
            .collect();
        user.report(&addresses).await?;
        let stolen = format!("{name}-stolen");
        test_cluster
            .ask(&user, &stolen, &[&ips[0], &ips[1]])
            .await?;
        test_cluster
            .waits(&daemon, &stolen, &["SanUncorroborated"])
            .await?;
        daemon.sigterm(Duration::from_secs(5)).await?;
    }
    Ok(())
}
