//! The faults are what they say: else nothing would have been endured.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use apiserver_sim::{Fault, Faults};
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::stage::Stage;

const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const WHILE: Duration = Duration::from_millis(500);

pub async fn as_told() -> Result<()> {
    let mut stage = Stage::embedded().await?;
    connections(&mut stage).await?;
    tokens(&mut stage).await?;
    let created = node(&stage, "right").await?;
    stage.server()?.set_clock(SignedDuration::from_hours(2));
    let later = node(&stage, "ahead").await?.duration_since(created);
    ensure!(later >= SignedDuration::from_hours(2), "{later}");
    late(&mut stage).await
}

async fn answers(client: &Client) -> bool {
    let request = http::Request::get("/version").body(Vec::new());
    let answer = client.request_text(request.expect("a request"));
    timeout(WHILE, answer)
        .await
        .is_ok_and(|answer| answer.is_ok())
}

async fn connections(stage: &mut Stage) -> Result<()> {
    let client = stage.admin()?;
    ensure!(answers(&client).await);
    stage.server()?.freeze();
    ensure!(!answers(&client).await, "a frozen one answers");
    ensure!(
        !answers(&stage.admin()?).await,
        "it answers a new connection"
    );
    stage.server()?.thaw();
    ensure!(
        answers(&stage.admin()?).await,
        "a thawed one does not answer"
    );

    let lost = stage.admin()?;
    ensure!(answers(&lost).await);
    stage.server()?.lose_connections();
    ensure!(!answers(&lost).await, "a lost connection carries");
    ensure!(answers(&stage.admin()?).await, "a new one does not");

    stage.server()?.kill().await;
    ensure!(!answers(&stage.admin()?).await, "a killed one answers");
    stage.server()?.revive().await?;
    ensure!(answers(&stage.admin()?).await, "a revived one does not");
    Ok(())
}

async fn tokens(stage: &mut Stage) -> Result<()> {
    let file = stage.renew_token("one").await?;
    let old = std::fs::read_to_string(file)?;
    stage.renew_token("one").await?;
    let request = http::Request::get("/version")
        .header("authorization", format!("Bearer {old}"))
        .body(Vec::new())?;
    let mut config = stage.config_for("nobody", &[]).await?;
    config.auth_info = kube::config::AuthInfo::default();
    let answer = Client::try_from(config)?.request_text(request).await;
    let refused = matches!(&answer, Err(kube::Error::Api(status)) if status.code == 401);
    ensure!(refused, "the old token: {answer:?}");
    Ok(())
}

/// When it was created.
async fn node(stage: &Stage, name: &str) -> Result<Timestamp> {
    let nodes: Api<Node> = Api::all(stage.admin()?);
    let node = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let node = nodes.create(&PostParams::default(), &node).await?;
    let created = node.metadata.creation_timestamp;
    Ok(created.context("a time")?.0)
}

async fn late(stage: &mut Stage) -> Result<()> {
    let late = Fault::Late(2 * WHILE);
    let faults = Faults::default().with(late, 1.0, "watch", "");
    stage.server()?.set_faults(faults);
    let namespaces: Api<Namespace> = Api::all(stage.admin()?);
    let version = namespaces.list(&Default::default()).await?;
    let version = version.metadata.resource_version.context("a version")?;
    let mut events = pin!(namespaces.watch(&WatchParams::default(), &version).await?);
    let fresh = serde_json::from_value(json!({"metadata": {"name": "fresh"}}))?;
    let begun = Instant::now();
    namespaces.create(&PostParams::default(), &fresh).await?;
    let event = timeout(SOON, events.try_next()).await??;
    let came = matches!(event, Some(WatchEvent::Added(_)));
    ensure!(
        came && begun.elapsed() >= 2 * WHILE,
        "{event:?} after {:?}",
        begun.elapsed()
    );
    Ok(())
}
