//! The controllers of the cluster: the signer of approved requests and the cleaner of old ones.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::network::Client;
use super::world::{BEGIN, REQUESTS, World};

/// Lifetime of a certificate.
pub(super) const LIFETIME: Duration = Duration::from_secs(20 * 60);
/// The time by which `notBefore` is in the past.
pub(super) const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Interval of the cleaner.
const CLEAN_EVERY: Duration = Duration::from_secs(10 * 60);
/// Age of the requests that it deletes.
const OLD: Duration = Duration::from_secs(3600);

/// Signs each approved request after a delay. Nothing is signed before `paused` ends.
pub(super) async fn sign_all(
    client: Client,
    mut approved: mpsc::UnboundedReceiver<String>,
    paused: tokio::sync::watch::Receiver<Instant>,
) {
    let mut number = 0;
    while let Some(request) = approved.recv().await {
        let client = client.clone();
        number += 1;
        let mut rng = client.world.rng("signer's delay", number);
        let paused = paused.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(2).mul_f64(rng.share())).await;
            loop {
                let until = *paused.borrow();
                sleep_until(until).await;
                if sign(&client, &request).await.is_some() {
                    return;
                }
                sleep(Duration::from_secs(1).mul_f64(1.0 + rng.share())).await;
            }
        });
    }
}

/// Signs a request. Returns `None` if that must be tried again.
async fn sign(client: &Client, request: &str) -> Option<()> {
    let path = format!("{REQUESTS}/{request}");
    let (status, mut found) = client.call(Method::GET, &path, None, None).await.ok()?;
    if status == 404 || found.pointer("/status/certificate").is_some() {
        return Some(());
    }
    let object: CertificateSigningRequest = serde_json::from_value(found.clone()).ok()?;
    let now = BEGIN + client.world.elapsed();
    let ca = client.world.api.ca();
    let pem = match lab::signer::certificate(&object, ca, LIFETIME, now) {
        Ok(pem) => pem,
        Err(why) => {
            client
                .world
                .find(format!("the signer refuses the approved {request}: {why}"));
            return Some(());
        }
    };
    let pem = serde_json::to_value(ByteString(pem.into_bytes())).ok()?;
    found
        .get_mut("status")?
        .as_object_mut()?
        .insert("certificate".into(), pem);
    let path = format!("{path}/status");
    let (status, _) = client
        .call(Method::PUT, &path, Some(found), None)
        .await
        .ok()?;
    (status == 200).then_some(())
}

/// Labels new requests until `labeling`, so that a decision on one meets a conflict.
pub(super) async fn label(
    client: Client,
    mut created: mpsc::UnboundedReceiver<String>,
    labeling: tokio::sync::watch::Receiver<Instant>,
) {
    let mut number = 0;
    while let Some(request) = created.recv().await {
        number += 1;
        if *labeling.borrow() < Instant::now() {
            continue;
        }
        let mut rng = client.world.rng("labeler's delay", number);
        let client = client.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(25).mul_f64(rng.share())).await;
            let labels = json!({"metadata": {"labels": {"simulation": "labeled"}}});
            let path = format!("{REQUESTS}/{request}");
            // A request that cannot be labeled stays as it is.
            let _ = client.call(Method::PATCH, &path, Some(labels), None).await;
        });
    }
}

/// Deletes old requests, as the cleaner in the controller-manager does.
pub(super) async fn clean(client: Client) {
    loop {
        sleep(CLEAN_EVERY).await;
        let world: &Arc<World> = &client.world;
        let limit = BEGIN + world.elapsed() - OLD;
        for object in world.api.objects("certificatesigningrequests") {
            let object = Value::Object(object);
            let text = |path| object.pointer(path).and_then(Value::as_str);
            let created = text("/metadata/creationTimestamp");
            let created = created.and_then(|created| created.parse::<Timestamp>().ok());
            let (Some(name), Some(created)) = (text("/metadata/name"), created) else {
                continue;
            };
            if created < limit {
                let path = format!("{REQUESTS}/{name}");
                if let Ok((200, _)) = client.call(Method::DELETE, &path, None, None).await {
                    world.truth().forget(name);
                }
            }
        }
    }
}
