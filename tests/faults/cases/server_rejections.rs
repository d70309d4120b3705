//! Errors that a real API server produces itself: 429, 500 and 503.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::real_control_plane::test_cluster;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;
use control_plane::cluster::{Cluster, Options, START_DEADLINE};

/// The deadline for the daemon to meet the error. It renews its Lease every two seconds.
const SOON: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "real_429",
            "priority and fairness rejects all requests of the daemon with 429",
            too_many,
        ),
        Case::new(
            "real_500",
            "every write of an approval or the Lease is answered with 500: it needs a webhook, which does not exist",
            |scale| {
                let answered = "apiserver_request_total{code=\"500\"";
                by_manifest(
                    scale,
                    500,
                    answered,
                    include_str!("server_rejections/internal.yaml"),
                )
            },
        ),
        Case::new(
            "real_503",
            "requests and Leases are answered with 503, as if an absent extension served them",
            |scale| {
                let ended = "apiserver_request_terminations_total{code=\"503\"";
                by_manifest(
                    scale,
                    503,
                    ended,
                    include_str!("server_rejections/unavailable.yaml"),
                )
            },
        ),
        Case::new(
            "real_504",
            "etcd is paused (SIGSTOP), and the API server answers 504 after three seconds",
            etcd_paused,
        ),
    ]
}

/// The daemon's requests share a priority level without seats with a request that never ends.
async fn too_many(scale: Scale) -> Result<Measured> {
    const LEVEL: &str = include_str!("server_rejections/too_many.yaml");
    const REJECTED: &str =
        "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"csr-warden\"";
    let endless = RefCell::new(None);
    let begin = async |cluster: &mut Cluster| {
        cluster.apply(LEVEL).await?;
        let token = cluster.token("kube-system", "csr-warden").await?;
        let https = cluster.https()?;
        let begun = Instant::now();
        loop {
            let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
            let post = https.unfinished_post(review, &token, SOON / 40).await?;
            let executing = cluster
                .metric(
                    "apiserver_flowcontrol_current_executing_requests{flow_schema=\"csr-warden\"",
                )
                .await?;
            if post.is_some() && executing == 1 {
                endless.replace(post);
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "no request takes the only seat");
        }
    };
    let end = async |cluster: &mut Cluster| {
        endless.take();
        cluster.delete(LEVEL).await
    };
    refuses(scale, Options::default(), (429, REJECTED), begin, end).await
}

async fn by_manifest(scale: Scale, code: u16, counted: &str, manifest: &str) -> Result<Measured> {
    let begin = async |cluster: &mut Cluster| cluster.apply(manifest).await;
    let end = async |cluster: &mut Cluster| cluster.delete(manifest).await;
    refuses(scale, Options::default(), (code, counted), begin, end).await
}

async fn etcd_paused(scale: Scale) -> Result<Measured> {
    let options = Options {
        api_server_args: vec!["--request-timeout=3s".into()],
        ..Options::default()
    };
    let begin = async |cluster: &mut Cluster| cluster.etcd.pause();
    let end = async |cluster: &mut Cluster| {
        cluster.etcd.resume()?;
        cluster.ready(START_DEADLINE).await
    };
    let answered = "apiserver_request_total{code=\"504\"";
    refuses(scale, options, (504, answered), begin, end).await
}

/// Makes the API server respond with this code, which this metric of the API server counts.
async fn refuses(
    scale: Scale,
    options: Options,
    (code, counted): (u16, &str),
    begin: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
    end: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
) -> Result<Measured> {
    let test_cluster = test_cluster(options).await?;
    let answers = Cell::new(0);
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let before = test_cluster.cluster()?.metric(counted).await?;
        begin(test_cluster.cluster()?).await?;
        let told = format!("the API server answered {code}");
        test_cluster.replicas[0].wait_for_log(&told, SOON).await?;
        // So that watches are affected too.
        test_cluster.relay()?.reset();
        let written = test_cluster.replicas[0].written().await?;
        sleep(lasts).await;
        let more = test_cluster.replicas[0].written().await? - written;
        ensure!(more == 0, "{more} were written meanwhile");
        end(test_cluster.cluster()?).await?;
        let after = test_cluster.cluster()?.metric(counted).await?;
        ensure!(after > before, "{counted}}}: {before}, then {after}");
        answers.set(after - before);
        Ok(())
    };
    let seen = run_one_replica(test_cluster, &scale, scale.fault, during).await?;
    let answers = answers.get();
    Ok(Measured {
        note: format!("{answers} such answers"),
        ..seen
    })
}
