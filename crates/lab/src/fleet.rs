//! A fleet of simulated kubelets in one process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::kubelet::{Kubelet, Outcome, Served};

/// The maximum number of kubelets with an open connection. Each needs two open files, as the API
/// server is in the same process. Most shells allow 1,024.
const MAX_CONCURRENT: usize = 200;
/// The minimum and maximum delay between attempts. It doubles after each attempt (client-go's
/// `util/certificate/certificate_manager.go`).
const MIN_BACKOFF: Duration = Duration::from_secs(2);
const MAX_BACKOFF: Duration = Duration::from_secs(32);

/// An event of a kubelet.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has got its first certificate or a renewed one.
    Served {
        /// The node name.
        node: String,
        /// The certificate.
        served: Served,
    },
    /// An attempt has failed and will be retried.
    Unserved {
        /// The node name.
        node: String,
        /// The reason.
        why: String,
    },
}

/// Runs kubelets until the future is dropped. Each starts after its delay, gets its certificate and
/// renews it when due.
pub async fn run(kubelets: Vec<(Duration, Kubelet)>, events: mpsc::UnboundedSender<Event>) {
    let slots = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut running = JoinSet::new();
    for (delay, kubelet) in kubelets {
        let slots = slots.clone();
        let events = events.clone();
        running.spawn(async move {
            sleep(delay).await;
            run_kubelet(&kubelet, &slots, &events).await;
        });
    }
    while running.join_next().await.is_some() {}
}

fn retry_backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(MIN_BACKOFF)
        .with_max_delay(MAX_BACKOFF)
        .with_jitter()
        .without_max_times()
}

async fn run_kubelet(kubelet: &Kubelet, slots: &Semaphore, events: &mpsc::UnboundedSender<Event>) {
    let node = || kubelet.name.clone();
    // The receiver is dropped at the end of the demonstration, when no event matters.
    let tell = |event: Event| drop(events.send(event));
    let mut backoff = retry_backoff().build();
    let mut registered = false;
    loop {
        // The semaphore is never closed.
        let Ok(place) = slots.acquire().await else {
            return;
        };
        let tried = attempt(kubelet, &mut registered).await;
        drop(place);
        let why = match tried {
            Ok(Outcome::Served(served)) => {
                backoff = retry_backoff().build();
                tell(Event::Served {
                    node: node(),
                    served: served.clone(),
                });
                until_renewal(&served).await;
                continue;
            }
            Ok(Outcome::Unserved(why)) => why,
            Err(error) => format!("{error:#}"),
        };
        tell(Event::Unserved { node: node(), why });
        sleep(backoff.next().unwrap_or(MAX_BACKOFF)).await;
    }
}

async fn attempt(kubelet: &Kubelet, registered: &mut bool) -> Result<Outcome> {
    let client = kubelet.connect()?;
    if !*registered {
        kubelet.register(&client).await?;
        *registered = true;
    }
    kubelet.ask(&client).await
}

/// Waits until a certificate is due for renewal: at 70 to 90 % of its lifetime.
async fn until_renewal(served: &Served) {
    let (begins, ends) = served.valid;
    let life = Duration::try_from(ends.duration_since(begins)).unwrap_or_default();
    let due = life.mul_f64(0.7 + 0.2 * fastrand::f64());
    let lived = Duration::try_from(Timestamp::now().duration_since(begins));
    sleep(due.saturating_sub(lived.unwrap_or_default())).await;
}

/// Returns the name of kubelet `index`, which starts at 1.
pub fn name(index: usize) -> String {
    format!("node-{index}")
}

/// Returns the address of kubelet `index`, from 10.128.0.2.
pub fn address(index: usize) -> IpAddr {
    let first = Ipv4Addr::new(10, 128, 0, 1).to_bits();
    let index = u32::try_from(index).unwrap_or_default();
    Ipv4Addr::from_bits(first.wrapping_add(index)).into()
}
