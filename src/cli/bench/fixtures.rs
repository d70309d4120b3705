//! Nodes that are only there to be measured with, and their requests: made by somebody who may
//! impersonate them.

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

/// Nodes' names begin so, and those of their requests.
const PREFIX: &str = "csr-warden-bench-";
/// BenchCommand Nodes that are made here are labelled with.
const LABEL: &str = "csr-warden-bench";
/// Requests that are on their way at the same time.
const CONCURRENCY: usize = 32;

/// The name of Node number `index`, from 1.
fn name(index: usize) -> String {
    format!("{PREFIX}{index}")
}

/// The address of Node number `index`: 198.18.0.1 and on (RFC 2544, for benchmarks).
fn address(index: usize) -> IpAddr {
    let first = Ipv4Addr::new(198, 18, 0, 0).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(index).unwrap_or_default()).into()
}

/// All requests that were made here. They have no label, as those of kubelets have none: the daemon
/// keeps what others add to a request, at the price of a read.
pub(super) async fn labeled_objects(client: &Client) -> Result<Vec<CertificateSigningRequest>> {
    let of_signer = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
    let all = requests(client)
        .list(&ListParams::default().fields(&of_signer))
        .await
        .map_err(|error| anyhow!(describe(&error)))?;
    let is_ours = |request: &CertificateSigningRequest| request.name_any().starts_with(PREFIX);
    Ok(all.items.into_iter().filter(is_ours).collect())
}

/// Makes the Nodes with these numbers. They have none of the labels that Pods are placed by.
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
                .with_context(|| format!("cannot make Node {name}"))?;
            anyhow::Ok(())
        }
    };
    stream::iter(numbers)
        .map(make)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// A request as the kubelet of Node number `index` makes it, in PEM.
pub(super) fn genuine(index: usize) -> Result<String> {
    let name = name(index);
    Template::genuine(&name, std::slice::from_ref(&name), &[address(index)])
        .pem(&KeyPair::generate()?)
}

/// A request of Node number `index` for a name that no node may have, in PEM.
pub(super) fn forged(index: usize, key: &KeyPair) -> Result<String> {
    let dns = [name(index), "kubernetes.default.svc".to_owned()];
    Template::genuine(&name(index), &dns, &[address(index)]).pem(key)
}

/// Posts a request as Node number `index`: user name, groups and credential are those that it would
/// have itself.
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
        "the API server took a request of {user} as that of {:?}: may we impersonate?",
        stored.spec.username
    );
    Ok(stored)
}

/// Posts one genuine request for each Node, and sees that nobody else decides them.
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
                "somebody else decides requests here ({}: {}): stop that first; csr-warden with \
                 `kubectl -n kube-system scale deployment csr-warden --replicas=0`",
                condition.type_,
                condition.reason.as_deref().unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// Deletes all requests that were made here.
pub(super) async fn clear_requests(client: &Client) -> Result<()> {
    let all = labeled_objects(client).await?;
    stream::iter(all)
        .map(async |request| gone(&requests(client), &request).await)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Deletes all that was made here.
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

/// Deletes one; that somebody was faster is as good.
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
