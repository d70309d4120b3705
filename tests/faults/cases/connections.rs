//! An API server that is gone or stands still, and connections that break.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Numbers;
use crate::scenario::{Seen, one_endures};
use crate::test_cluster::Stage;

/// How often connections are reset.
const EVERY: Duration = Duration::from_millis(500);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_half_open",
            "every connection stays open and carries nothing any more; new ones work",
            half_open,
        ),
        Case::new(
            "embedded_token_rotated",
            "the token's file has another token, and the old one is refused at once",
            token_rotated,
        ),
        Case::new(
            "embedded_api_server_paused",
            "the API server stands still: connections are accepted, and no request is answered",
            paused,
        ),
        Case::new(
            "embedded_api_server_killed",
            "the API server is gone, and comes back with what it had stored",
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

async fn half_open(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.server()?.lose_connections();
        sleep(lasts).await;
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn token_rotated(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.renew_token("one").await?;
        // As an API server that ends a connection whose credential is gone.
        stage.server()?.drop_watches();
        sleep(lasts).await;
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn paused(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        stage.server()?.freeze();
        sleep(lasts).await;
        stage.server()?.thaw();
        Ok(())
    };
    one_endures(stage, &numbers, numbers.pause, during).await
}

async fn killed(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let server = stage.server()?;
        server.kill().await;
        sleep(lasts).await;
        server.revive().await
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn resets(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            stage.server()?.reset_connections();
            sleep(EVERY).await;
        }
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}

async fn certificate_rotated(numbers: Numbers) -> Result<Seen> {
    let stage = Stage::embedded().await?;
    let during = async |stage: &mut Stage, lasts: Duration| {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            let server = stage.server()?;
            server.rotate_certificate()?;
            server.reset_connections();
            sleep(EVERY).await;
        }
        Ok(())
    };
    one_endures(stage, &numbers, numbers.fault, during).await
}
