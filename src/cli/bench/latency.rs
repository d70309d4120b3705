//! The latency of approvals, as seen by a watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fixtures;
use judge::csr::KUBELET_SERVING_SIGNER;
use lab::latency::Latencies;

/// The timeout for the last condition.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An observer that watches requests.
pub(super) struct Observer {
    seen: mpsc::UnboundedReceiver<(String, Instant)>,
    watch: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Observer {
    /// Starts a watch.
    pub(super) fn new(client: &Client) -> Observer {
        let (tell, seen) = mpsc::unbounded_channel();
        let ours = format!("spec.signerName={KUBELET_SERVING_SIGNER}");
        let config = watcher::Config::default().fields(&ours);
        let stream = watcher(fixtures::requests(client), config).default_backoff();
        let watch = tokio::spawn(async move {
            pin_mut!(stream);
            while let Some(event) = stream.next().await {
                let Ok(watcher::Event::Apply(request) | watcher::Event::InitApply(request)) = event
                else {
                    continue;
                };
                let seen = (request.name_any(), Instant::now());
                if is_settled(&request) && tell.send(seen).is_err() {
                    return;
                }
            }
        });
        Observer { seen, watch }
    }

    /// Posts `count` genuine requests at `rate` per second. Returns the time from the creation of
    /// each to the event with its condition.
    pub(super) async fn steady(
        &mut self,
        client: &Client,
        nodes: usize,
        rate: u16,
        count: usize,
    ) -> Result<Latencies> {
        let mut ticks = interval(Duration::from_secs(1) / u32::from(rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (tell, mut posted) = mpsc::unbounded_channel();
        let posting = async {
            for index in 0..count {
                ticks.tick().await;
                let node = index % nodes + 1;
                let pem = fixtures::genuine(node)?;
                let (client, tell) = (client.clone(), tell.clone());
                tokio::spawn(async move {
                    let posted = fixtures::post(&client, node, pem).await;
                    // The receiver is dropped if another task has failed.
                    let _ = tell.send(posted.map(|request| (request.name_any(), Instant::now())));
                });
            }
            anyhow::Ok(())
        };
        let seeing = async {
            let mut made: HashMap<String, Instant> = HashMap::new();
            let mut settled: HashMap<String, Instant> = HashMap::new();
            let mut took = Vec::with_capacity(count);
            while took.len() < count {
                let name = tokio::select! {
                    Some(posted) = posted.recv() => {
                        let (name, at) = posted?;
                        made.insert(name.clone(), at);
                        name
                    }
                    seen = timeout(TIMEOUT, self.seen.recv()) => {
                        let Ok(seen) = seen else {
                            bail!("{} of {count} requests have no condition", count - took.len());
                        };
                        let (name, at) = seen.context("the watch has ended")?;
                        settled.entry(name.clone()).or_insert(at);
                        name
                    }
                };
                if let (Some(at), Some(until)) = (made.get(&name), settled.get(&name)) {
                    took.push(until.saturating_duration_since(*at));
                    // A signed request is seen again, but counts once.
                    made.remove(&name);
                }
            }
            Ok(took.into_iter().collect())
        };
        let ((), took) = tokio::try_join!(posting, seeing)?;
        Ok(took)
    }
}

fn is_settled(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    status.is_some_and(|status| status.conditions.iter().flatten().next().is_some())
}
