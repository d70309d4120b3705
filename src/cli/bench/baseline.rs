//! The baseline client: approves each request without looking at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use kube::api::PostParams;
use kube::{Client, Config};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::fixtures;
use crate::cluster::error::describe;
use lab::latency::Latencies;

/// All pending requests, each with the condition to write.
pub(super) struct Backlog(Arc<Vec<CertificateSigningRequest>>);

impl Backlog {
    /// Lists the requests.
    pub(super) async fn read(config: &Config) -> Result<Backlog> {
        let lister = Client::try_from(config.clone())?;
        let mut requests = fixtures::labeled_objects(&lister).await?;
        requests.iter_mut().for_each(approve);
        Ok(Backlog(Arc::new(requests)))
    }

    /// Returns the number of requests.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Approves all of them over this number of connections. Returns the time of the writes. The list
    /// is not included, as the daemon's time also starts after its list.
    pub(super) async fn drain(self, config: &Config, connections: u16) -> Result<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::try_from(config.clone())?);
        }
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for client in clients {
            let (requests, next) = (self.0.clone(), next.clone());
            workers.spawn(async move {
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    put(&client, request).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(begun.elapsed())
    }
}

/// Posts `count` requests at `rate` per second and approves each. Returns the latency of the
/// writes.
pub(super) async fn steady(
    client: &Client,
    approver: &Client,
    nodes: usize,
    rate: u16,
    count: usize,
) -> Result<Latencies> {
    let mut ticks = interval(Duration::from_secs(1) / u32::from(rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::with_capacity(count);
    for index in 0..count {
        ticks.tick().await;
        let node = index % nodes + 1;
        let mut request = fixtures::post(client, node, fixtures::genuine(node)?).await?;
        approve(&mut request);
        let begun = Instant::now();
        put(approver, &request).await?;
        took.push(begun.elapsed());
    }
    Ok(took.into_iter().collect())
}

async fn put(client: &Client, request: &CertificateSigningRequest) -> Result<()> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    fixtures::requests(client)
        .replace_subresource("approval", name, &PostParams::default(), request)
        .await
        .map_err(|error| {
            anyhow!(
                "the bare client cannot approve {name}: {}",
                describe(&error)
            )
        })?;
    Ok(())
}

fn approve(request: &mut CertificateSigningRequest) {
    let condition = CertificateSigningRequestCondition {
        type_: "Approved".into(),
        status: "True".into(),
        reason: Some("Benchmark".into()),
        message: Some("approved without a check by a benchmark".into()),
        ..CertificateSigningRequestCondition::default()
    };
    request.status.get_or_insert_default().conditions = Some(vec![condition]);
}
