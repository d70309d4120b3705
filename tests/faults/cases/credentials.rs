//! Rotation of credentials on a real control plane: serving certificate and token.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::{Instant, sleep};

use super::real_control_plane::test_cluster;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;
use control_plane::POLL_INTERVAL;
use control_plane::cluster::{Cluster, Options};

/// The deadline for the API server to re-read its files, or for the daemon to meet a rejection.
const SOON: Duration = Duration::from_secs(20);
/// The interval of certificate rotation.
const EVERY: Duration = Duration::from_secs(1);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "real_certificate_rotated",
            "the API server has another serving certificate every second, and every connection of the daemon is closed",
            certificate_rotated,
        ),
        Case::new(
            "real_token_rotated",
            "the daemon's token is revoked, and its file has a new one a moment later",
            token_rotated,
        ),
    ]
}

async fn certificate_rotated(scale: Scale) -> Result<Measured> {
    let test_cluster = test_cluster(Options::default()).await?;
    let rotated = Cell::new(0);
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let opened = test_cluster.relay()?.opened();
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            show_another(test_cluster.cluster()?).await?;
            test_cluster.relay()?.reset();
            rotated.set(rotated.get() + 1);
            sleep(EVERY).await;
        }
        let opened = test_cluster.relay()?.opened() - opened;
        ensure!(
            opened >= rotated.get(),
            "{opened} connections with {} certificates",
            rotated.get()
        );
        Ok(())
    };
    let seen = run_one_replica(test_cluster, &scale, scale.fault, during).await?;
    let rotated = rotated.get();
    Ok(Measured {
        note: format!("{rotated} certificates"),
        ..seen
    })
}

/// Rotates the serving certificate, and waits until new connections get it.
async fn show_another(cluster: &Cluster) -> Result<()> {
    let https = cluster.https()?;
    let (_, before) = https.get("/version", None).await?;
    let fresh = CertificateDer::from_pem_file(cluster.rotate_certificate()?.cert)?;
    ensure!(before != *fresh, "it is the one that was shown before");
    let begun = Instant::now();
    loop {
        let (_, shown) = https.get("/version", None).await?;
        if shown == *fresh {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "the old certificate is shown");
        sleep(POLL_INTERVAL).await;
    }
}

async fn token_rotated(scale: Scale) -> Result<Measured> {
    let test_cluster = test_cluster(Options::default()).await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let begun = Instant::now();
        test_cluster.revoke_token().await?;
        // A real API server does not close connections with a revoked credential.
        test_cluster.relay()?.reset();
        test_cluster.replicas[0]
            .wait_for_log("401 Unauthorized", SOON)
            .await?;
        test_cluster.renew_token("one").await?;
        sleep(lasts.saturating_sub(begun.elapsed())).await;
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}
