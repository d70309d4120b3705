//! A self-test of the harness, with a blind approver instead of csr-warden.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::json;

use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};
use control_plane::fleet::{self, Fleet};
use control_plane::netns;

const SOON: Duration = Duration::from_secs(60);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "fleet_is_served_by_a_blind_approver",
            Needs::Nothing,
            fleet_is_served,
        ),
        Case::new(
            "cluster_outlives_its_components",
            Needs::Nothing,
            components_restart,
        ),
        Case::new(
            "endpoint_is_published_when_advertised",
            Needs::OwnNetwork,
            endpoint_is_published,
        ),
        Case::new(
            "approval_write_is_conditional",
            Needs::Nothing,
            approval_write_is_conditional,
        ),
    ]
}

async fn fleet_is_served(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let approver = tokio::spawn(approve_blindly(cluster.admin()));
    let options = fleet::Options {
        dual_stack: true,
        dns_suffix: Some("nodes.example".into()),
        ..fleet::Options::nodes(5)
    };
    let mut fleet = Fleet::start(&assets, &cluster, &options)?;
    fleet.wait_all_issued(SOON).await?;
    let first = fleet.latest();
    ensure!(first.len() == 5, "{first:?}");
    let sans = &first.get("node-1").context("node-1")?.sans;
    ensure!(
        sans == &[
            "node-1",
            "node-1.nodes.example",
            "10.128.0.2",
            "fd00:128::1"
        ],
        "{sans:?}"
    );

    fleet.rotate("node-3")?;
    let second = fleet.wait_issued("node-3", SOON).await?;
    ensure!(Some(&second.serial) != first.get("node-3").map(|issued| &issued.serial));

    fleet.set_addresses("node-4", &["10.128.200.4"])?;
    let moved = fleet.wait_issued("node-4", SOON).await?;
    ensure!(
        moved.sans == ["node-4", "node-4.nodes.example", "10.128.200.4"],
        "{:?}",
        moved.sans
    );

    fleet.rotate_all()?;
    fleet.wait_all_issued(SOON).await?;
    ensure!(
        fleet.issued().len() == 5 + 1 + 1 + 5,
        "{:?}",
        fleet.issued()
    );
    ensure!(fleet.errors().is_empty(), "{:?}", fleet.errors());

    let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]).await?;
    ensure!(nodes.lines().count() == 5, "{nodes}");
    approver.abort();
    Ok(())
}

async fn components_restart(assets: Arc<Assets>) -> Result<()> {
    let mut cluster = Cluster::start(&assets, Options::default()).await?;
    let approver = tokio::spawn(approve_blindly(cluster.admin()));
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(2))?;
    fleet.wait_all_issued(SOON).await?;

    cluster.api_server.kill()?;
    cluster.api_server.start()?;
    cluster.ready(START_DEADLINE).await?;
    fleet.rotate("node-1")?;
    fleet.wait_issued("node-1", SOON).await?;

    cluster.etcd.kill()?;
    cluster.etcd.start()?;
    cluster.ready(START_DEADLINE).await?;
    fleet.rotate("node-2")?;
    fleet.wait_issued("node-2", SOON).await?;

    cluster.controller_manager.kill()?;
    fleet.rotate("node-1")?;
    cluster.controller_manager.start()?;
    fleet.wait_issued("node-1", SOON).await?;

    cluster.api_server.pause()?;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.admin());
    let all = ListParams::default();
    if let Ok(answer) = tokio::time::timeout(Duration::from_millis(500), nodes.list(&all)).await {
        bail!("a paused API server answered: {answer:?}");
    }
    cluster.api_server.resume()?;
    cluster.ready(START_DEADLINE).await?;
    ensure!(nodes.list(&all).await?.items.len() == 2);
    approver.abort();
    Ok(())
}

/// Without an advertised address, the Service and its network exist, but no endpoint.
async fn endpoint_is_published(assets: Arc<Assets>) -> Result<()> {
    for advertise in [Some(netns::ADDRESS), None] {
        let cluster = Cluster::start(
            &assets,
            Options {
                advertise,
                ..Options::default()
            },
        )
        .await?;
        let service: Api<Service> = Api::default_namespaced(cluster.admin());
        let ip = service
            .get("kubernetes")
            .await?
            .spec
            .and_then(|spec| spec.cluster_ip);
        ensure!(ip.as_deref() == Some("10.96.0.1"), "{ip:?}");
        let networks: Api<ServiceCIDR> = Api::all(cluster.admin());
        let cidrs = networks
            .get("kubernetes")
            .await?
            .spec
            .and_then(|spec| spec.cidrs);
        ensure!(cidrs == Some(vec!["10.96.0.0/16".into()]), "{cidrs:?}");

        let slices: Api<EndpointSlice> = Api::default_namespaced(cluster.admin());
        let slice = slices.get_opt("kubernetes").await?;
        let addresses: Option<Vec<String>> =
            slice.map(|s| s.endpoints.into_iter().flat_map(|e| e.addresses).collect());
        ensure!(
            addresses == advertise.map(|ip| vec![ip.to_string()]),
            "{addresses:?}"
        );
    }
    Ok(())
}

/// The API behavior on which csr-warden's write depends.
async fn approval_write_is_conditional(assets: Arc<Assets>) -> Result<()> {
    let cluster = Cluster::start(&assets, Options::default()).await?;
    let mut fleet = Fleet::start(&assets, &cluster, &fleet::Options::nodes(1))?;
    let api: Api<CertificateSigningRequest> = Api::all(cluster.admin());
    let begun = Instant::now();
    let seen = loop {
        if let Some(request) = api.list(&ListParams::default()).await?.items.pop() {
            break request.metadata;
        }
        ensure!(begun.elapsed() < SOON, "no request");
        tokio::time::sleep(control_plane::POLL_INTERVAL).await;
    };
    let name = seen.name.context("name")?;
    let uid = seen.uid.context("uid")?;
    let mark = json!({"metadata": {"labels": {"mark": "1"}, "annotations": {"mark": "1"}}});
    let marked = api
        .patch(&name, &PatchParams::default(), &Patch::Merge(mark))
        .await?;
    let version = marked.metadata.resource_version.context("version")?;

    let other = "11111111-2222-3333-4444-555555555555";
    for (what, uid, version) in [("uid", other, &*version), ("version", &*uid, "1")] {
        let error = put(&cluster.admin(), &name, uid, version).await.err();
        let status = error.context(what)?;
        ensure!(
            status.code == 409 && status.reason == "Conflict",
            "{what}: {status:?}"
        );
    }
    let error = put(&cluster.admin(), "csr-gone", &uid, &version)
        .await
        .err();
    ensure!(
        error.is_some_and(|status| status.code == 404),
        "of a name that is not there"
    );
    // A patch with another UID gets 422, but keeps the other metadata.
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    for (uid, code) in [(other, Some(422)), (&*uid, None)] {
        let conditions = json!([{"type": "Approved", "status": "True", "reason": "Blind"}]);
        let patch = Patch::Merge(json!({
            "metadata": {"uid": uid, "resourceVersion": version},
            "status": {"conditions": conditions},
        }));
        let answer = api.patch_subresource("approval", &name, &dry, &patch).await;
        match (&answer, code) {
            (Ok(object), None) => ensure!(object.metadata.labels.is_some(), "{object:?}"),
            (Err(kube::Error::Api(status)), Some(code)) => {
                ensure!(status.code == code, "{status:?}");
            }
            _ => anyhow::bail!("{answer:?}"),
        }
    }

    put(&cluster.admin(), &name, &uid, &version)
        .await
        .map_err(|status| anyhow::anyhow!("{status:?}"))?;
    fleet.wait_issued("node-1", SOON).await?;
    let written = api.get(&name).await?;
    ensure!(
        written.spec.username.as_deref() == Some("system:node:node-1"),
        "the write took the spec away"
    );
    // Only the spec is safe: metadata is replaced, so a write must contain the labels that it has
    // read.
    let meta = written.metadata;
    ensure!(
        meta.labels.is_none() && meta.annotations.is_none(),
        "{meta:?}"
    );
    Ok(())
}

/// Approves with the minimal object: no spec.
async fn put(client: &Client, name: &str, uid: &str, version: &str) -> Result<(), Status> {
    let kind = ApiResource::erase::<CertificateSigningRequest>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let body: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "uid": uid, "resourceVersion": version},
        "status": {"conditions": [{"type": "Approved", "status": "True", "reason": "Blind", "message": "blind"}]},
    }))
    .expect("an object");
    match api
        .replace_subresource("approval", name, &PostParams::default(), &body)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) => Err(*error),
        Err(error) => panic!("{error}"),
    }
}

/// Approves every request, forever.
async fn approve_blindly(client: Client) {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    loop {
        let requests = api
            .list(&ListParams::default())
            .await
            .map(|l| l.items)
            .unwrap_or_default();
        for request in requests {
            let undecided = request
                .status
                .as_ref()
                .is_none_or(|s| s.conditions.is_none());
            let meta = request.metadata;
            if let (true, Some(name), Some(uid), Some(version)) =
                (undecided, meta.name, meta.uid, meta.resource_version)
            {
                let _ = put(&client, &name, &uid, &version).await;
            }
        }
        tokio::time::sleep(control_plane::POLL_INTERVAL).await;
    }
}
