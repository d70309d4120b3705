//! Nodes and requests for benchmarks, created by a client that may impersonate the Nodes.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use rcgen::KeyPair;
use serde_json::json;

use crate::cluster::error::describe;
use judge::csr::KUBELET_SERVING_SIGNER;
use lab::request::Template;

/// The prefix of names of Nodes and requests.
const PREFIX: &str = "csr-warden-bench-";
/// The label of the created Nodes.
const LABEL: &str = "csr-warden-bench";
/// The maximum number of concurrent requests.
const CONCURRENCY: usize = 32;

/// Returns the name of Node `index`, which starts at 1.
fn name(index: usize) -> String {
    format!("{PREFIX}{index}")
}

/// Returns the address of Node `index`, from 198.18.0.1 (RFC 2544, for benchmarks).
fn address(index: usize) -> IpAddr {
    let first = Ipv4Addr::new(198, 18, 0, 0).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(index).unwrap_or_default()).into()
}

/// Returns all requests of the benchmark. They have no label, like those of kubelets: the daemon
/// keeps metadata of others, at the price of a read.
pub(super) async fn labeled_objects(client: &Client) -> Result<Vec<CertificateSigningRequest>> {
    let of_signer = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let all = requests(client)
        .list(&ListParams::default().fields(&of_signer))
        .await
        .map_err(|error| anyhow!(describe(&error)))?;
    let is_ours = |request: &CertificateSigningRequest| request.name_any().starts_with(PREFIX);
    Ok(all.items.into_iter().filter(is_ours).collect())
}

/// Creates the Nodes with these numbers, without the labels by which Pods are scheduled.
pub(super) async fn make_nodes(
    client: &Client,
    numbers: impl IntoIterator<Item = usize>,
) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let make = |index| {
        let api = api.clone();
        async move {
            let name = name(index);
            let node: Node = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {LABEL: "true"}},
                "status": {"addresses": [
                    {"type": "Hostname", "address": name},
                    {"type": "InternalIP", "address": address(index)},
                ]},
            }))?;
            api.create(&PostParams::default(), &node)
                .await
                .map_err(|error| anyhow!(describe(&error)))
                .with_context(|| format!("cannot create Node {name}"))?;
            anyhow::Ok(())
        }
    };
    stream::iter(numbers)
        .map(make)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Reads Node `index`. The response is not decoded.
pub(super) async fn read_node(client: &Client, index: usize) -> Result<()> {
    let request = http::Request::get(format!("/api/v1/nodes/{}", name(index))).body(Vec::new())?;
    let read = client.request_text(request).await;
    read.map(drop).map_err(|error| anyhow!(describe(&error)))
}

/// Returns the request of the kubelet of Node `index`, in PEM.
pub(super) fn genuine(index: usize) -> Result<String> {
    let name = name(index);
    Template::genuine(&name, std::slice::from_ref(&name), &[address(index)])
        .pem(&KeyPair::generate()?)
}

/// Returns a request of Node `index` for a name that no node may have, in PEM.
pub(super) fn forged(index: usize, key: &KeyPair) -> Result<String> {
    let dns = [name(index), "kubernetes.default.svc".to_owned()];
    Template::genuine(&name(index), &dns, &[address(index)]).pem(key)
}

/// Posts a request as Node `index`, with its user name, groups and credential ID.
pub(super) async fn post(
    client: &Client,
    index: usize,
    pem: String,
) -> Result<CertificateSigningRequest> {
    let user = format!("system:node:{}", name(index));
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": PREFIX},
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": KUBELET_SERVING_SIGNER,
            "usages": ["digital signature", "server auth"],
        },
    });
    let request = http::Request::post("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .header("Content-Type", "application/json")
        .header("Impersonate-User", &user)
        .header("Impersonate-Group", "system:nodes")
        .header("Impersonate-Group", "system:authenticated")
        .header(
            "Impersonate-Extra-authentication.kubernetes.io%2Fcredential-id",
            format!("X509SHA256={index:064x}"),
        )
        .body(body.to_string().into_bytes())?;
    let stored: CertificateSigningRequest = client
        .request(request)
        .await
        .map_err(|error| anyhow!(describe(&error)))
        .context("cannot post a request")?;
    ensure!(
        stored.spec.username.as_ref() == Some(&user),
        "expected a request of {user}, found one of {:?}: is the right to impersonate missing?",
        stored.spec.username
    );
    Ok(stored)
}

/// Posts one genuine request for each Node, and checks that no other approver decides them.
pub(super) async fn post_backlog(client: &Client, nodes: usize) -> Result<()> {
    stream::iter(1..=nodes)
        .map(async |index| post(client, index, genuine(index)?).await.map(drop))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    for request in labeled_objects(client).await? {
        let conditions = request.status.and_then(|status| status.conditions);
        if let Some(condition) = conditions.iter().flatten().next() {
            bail!(
                "another approver decides requests here ({}: {}): stop that first; csr-warden with \
                 `kubectl -n kube-system scale deployment csr-warden --replicas=0`",
                condition.type_,
                condition.reason.as_deref().unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// Deletes all requests of the benchmark.
pub(super) async fn clear_requests(client: &Client) -> Result<()> {
    let all = labeled_objects(client).await?;
    stream::iter(all)
        .map(async |request| gone(&requests(client), &request).await)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Deletes all Nodes and requests of the benchmark.
pub(super) async fn clear(client: &Client) -> Result<()> {
    clear_requests(client).await?;
    let api: Api<Node> = Api::all(client.clone());
    let all = api
        .list(&ListParams::default().labels(LABEL))
        .await
        .map_err(|error| anyhow!(describe(&error)))?;
    stream::iter(all.items)
        .map(async |node| gone(&api, &node).await)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Deletes an object. One that is already gone is not an error.
async fn gone<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api
        .delete(&object.name_any(), &DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(anyhow!(describe(&error))),
        Ok(_) => Ok(()),
    }
}

pub(super) fn requests(client: &Client) -> Api<CertificateSigningRequest> {
    Api::all(client.clone())
}
