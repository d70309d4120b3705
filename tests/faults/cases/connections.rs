//! An API server that is stopped or paused, and broken connections.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, run_one_replica};
use crate::test_cluster::TestCluster;

/// The interval of connection resets.
const EVERY: Duration = Duration::from_millis(500);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_half_open",
            "every connection stays open and carries no more data; new ones work",
            half_open,
        ),
        Case::new(
            "embedded_token_rotated",
            "the token file has a new token, and the old one is rejected at once",
            token_rotated,
        ),
        Case::new(
            "embedded_api_server_paused",
            "the API server is paused: connections are accepted, and no request is answered",
            paused,
        ),
        Case::new(
            "embedded_api_server_killed",
            "the API server is stopped, and starts again with its stored state",
            killed,
        ),
        Case::new(
            "embedded_resets",
            "every connection is reset, twice a second",
            resets,
        ),
        Case::new(
            "embedded_certificate_rotated",
            "the API server has another serving certificate and resets every connection, twice a second",
            certificate_rotated,
        ),
    ]
}

async fn half_open(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        test_cluster.server()?.stall_connections();
        sleep(lasts).await;
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

async fn token_rotated(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        test_cluster.renew_token("one").await?;
        // As an API server that closes a connection with a revoked credential.
        test_cluster.server()?.drop_watches();
        sleep(lasts).await;
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

async fn paused(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        test_cluster.server()?.freeze();
        sleep(lasts).await;
        test_cluster.server()?.thaw();
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.pause, during).await
}

async fn killed(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let server = test_cluster.server()?;
        server.kill().await;
        sleep(lasts).await;
        server.restart().await
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

async fn resets(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            test_cluster.server()?.reset_connections();
            sleep(EVERY).await;
        }
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}

async fn certificate_rotated(scale: Scale) -> Result<Measured> {
    let test_cluster = TestCluster::embedded().await?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            let server = test_cluster.server()?;
            server.rotate_certificate()?;
            server.reset_connections();
            sleep(EVERY).await;
        }
        Ok(())
    };
    run_one_replica(test_cluster, &scale, scale.fault, during).await
}
