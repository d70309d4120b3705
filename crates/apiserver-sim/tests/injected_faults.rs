//! Effects of injected faults, as a client sees them.
//!
//! The fault tests of csr-warden rely on them: a fault without an effect would prove nothing.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use apiserver_sim::{Fault, Faults, Options, Server, User};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{AuthInfo, KubeConfigOptions};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::time::{Instant, timeout};

/// The time within which the API server answers without a fault.
const SOON: Duration = Duration::from_secs(10);
/// The time after which a request without an answer counts as hanging.
const SILENCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_frozen_server_answers_after_the_thaw() -> Result<()> {
    let server = start().await?;
    let old = admin(&server).await?;
    ensure!(answers(&old, SOON).await);
    server.freeze();
    ensure!(
        !answers(&old, SILENCE).await,
        "expected no answer while frozen"
    );
    let new = admin(&server).await?;
    ensure!(
        !answers(&new, SILENCE).await,
        "expected no answer on a new connection"
    );
    server.thaw();
    ensure!(answers(&admin(&server).await?, SOON).await);
    Ok(())
}

#[tokio::test]
async fn a_stalled_connection_transfers_nothing() -> Result<()> {
    let server = start().await?;
    let old = admin(&server).await?;
    ensure!(answers(&old, SOON).await);
    server.stall_connections();
    ensure!(!answers(&old, SILENCE).await, "expected no answer");
    ensure!(answers(&admin(&server).await?, SOON).await);
    Ok(())
}

#[tokio::test]
async fn a_killed_server_answers_after_its_restart() -> Result<()> {
    let mut server = start().await?;
    ensure!(answers(&admin(&server).await?, SOON).await);
    server.kill().await;
    ensure!(
        !answers(&admin(&server).await?, SILENCE).await,
        "expected no answer"
    );
    server.restart().await?;
    ensure!(answers(&admin(&server).await?, SOON).await);
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_is_unauthorized() -> Result<()> {
    let server = start().await?;
    let token = server.token(User::new("somebody", &[]));
    let mut config = config(&server).await?;
    config.auth_info = AuthInfo {
        token: Some(token.clone().into()),
        ..AuthInfo::default()
    };
    let client = Client::try_from(config)?;
    client.apiserver_version().await?;
    server.revoke(&token);
    let answer = client.apiserver_version().await;
    ensure!(code(&answer) == Some(401), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_clock_ahead_dates_what_is_created() -> Result<()> {
    let server = start().await?;
    let namespaces = Api::all(admin(&server).await?);
    let before = create(&namespaces, "before").await?;
    server.set_clock(SignedDuration::from_hours(2));
    let ahead = create(&namespaces, "ahead").await?.duration_since(before);
    ensure!(ahead >= SignedDuration::from_hours(2), "{ahead}");
    Ok(())
}

#[tokio::test]
async fn late_events_arrive_after_their_delay() -> Result<()> {
    let server = start().await?;
    let late = 2 * SILENCE;
    server.set_faults(Faults::default().with(Fault::Late(late), 1.0, "watch", ""));
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    let version = version(&namespaces).await?;
    let mut events = pin!(namespaces.watch(&WatchParams::default(), &version).await?);
    let begun = Instant::now();
    create(&namespaces, "fresh").await?;
    let event = timeout(SOON, events.try_next()).await??;
    let took = begun.elapsed();
    ensure!(matches!(event, Some(WatchEvent::Added(_))), "{event:?}");
    ensure!(took >= late, "{took:?}");
    Ok(())
}

#[tokio::test]
async fn errors_are_answered_where_they_are_set() -> Result<()> {
    let server = start().await?;
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    for (fault, expected) in [
        (Fault::Conflict, 409),
        (Fault::Gone, 410),
        (Fault::TooManyRequests(7), 429),
        (Fault::Internal, 500),
        (Fault::Unavailable, 503),
    ] {
        let faults = Faults::default().with(fault.clone(), 1.0, "get", "/default");
        server.set_faults(faults);
        let answer = namespaces.get("default").await;
        ensure!(code(&answer) == Some(expected), "{fault:?}: {answer:?}");
        namespaces.get("kube-system").await?;
    }
    server.set_faults(Faults::default());
    namespaces.get("default").await?;
    Ok(())
}

#[tokio::test]
async fn delayed_answers_arrive_after_their_delay() -> Result<()> {
    let server = start().await?;
    server.set_faults(Faults::default().with(Fault::Delay(SILENCE), 1.0, "get", ""));
    let begun = Instant::now();
    ensure!(answers(&admin(&server).await?, SOON).await);
    ensure!(begun.elapsed() >= SILENCE, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_hanging_request_is_not_answered() -> Result<()> {
    let server = start().await?;
    server.set_faults(Faults::default().with(Fault::Hang, 1.0, "get", ""));
    let client = admin(&server).await?;
    ensure!(!answers(&client, SILENCE).await, "expected no answer");
    Api::<Namespace>::all(client)
        .list(&ListParams::default())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_dropped_watch_ends_after_its_events() -> Result<()> {
    let names = watched(Fault::DropWatch(1), 2).await?;
    ensure!(names == ["first"], "{names:?}");
    Ok(())
}

#[tokio::test]
async fn duplicate_events_arrive_twice() -> Result<()> {
    let names = watched(Fault::Duplicate, 4).await?;
    ensure!(names == ["first", "first", "second", "second"], "{names:?}");
    Ok(())
}

#[tokio::test]
async fn reordered_events_arrive_in_the_opposite_order() -> Result<()> {
    let names = watched(Fault::Reorder, 2).await?;
    ensure!(names == ["second", "first"], "{names:?}");
    Ok(())
}

#[tokio::test]
async fn a_watch_from_a_compacted_version_is_expired() -> Result<()> {
    let server = start().await?;
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    let version = version(&namespaces).await?;
    create(&namespaces, "fresh").await?;
    server.set_faults(Faults::default().with(Fault::Compact, 1.0, "watch", ""));
    let mut events = pin!(namespaces.watch(&WatchParams::default(), &version).await?);
    let event = timeout(SOON, events.try_next()).await??;
    let expired = matches!(&event, Some(WatchEvent::Error(status)) if status.code == 410);
    ensure!(expired, "{event:?}");
    Ok(())
}

#[tokio::test]
async fn a_closed_watch_ends() -> Result<()> {
    let server = start().await?;
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    let version = version(&namespaces).await?;
    let mut events = pin!(namespaces.watch(&WatchParams::default(), &version).await?);
    server.drop_watches();
    let end = timeout(SOON, events.try_next()).await?;
    ensure!(matches!(end, Ok(None)), "{end:?}");
    Ok(())
}

#[tokio::test]
async fn a_reset_connection_fails_and_the_next_one_works() -> Result<()> {
    let server = start().await?;
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    let version = version(&namespaces).await?;
    let mut events = pin!(namespaces.watch(&WatchParams::default(), &version).await?);
    server.reset_connections();
    let end = timeout(SOON, events.try_next()).await?;
    ensure!(end.is_err(), "{end:?}");
    namespaces.get("default").await?;
    Ok(())
}

async fn start() -> Result<Server> {
    Server::start(Options::default()).await
}

async fn config(server: &Server) -> Result<Config> {
    let kubeconfig = server.kubeconfig("kubernetes-admin", &["system:masters"])?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    config.proxy_url = None;
    Ok(config)
}

/// Connects an administrator with a connection of its own.
async fn admin(server: &Server) -> Result<Client> {
    Ok(Client::try_from(config(server).await?)?)
}

/// Returns true if the API server answers this client in time.
async fn answers(client: &Client, within: Duration) -> bool {
    let answer = timeout(within, client.apiserver_version()).await;
    answer.is_ok_and(|answer| answer.is_ok())
}

/// Returns the status code of an error.
fn code<T>(answer: &kube::Result<T>) -> Option<u16> {
    match answer {
        Err(kube::Error::Api(status)) => Some(status.code),
        Ok(_) | Err(_) => None,
    }
}

/// Creates a Namespace and returns its creation time.
async fn create(namespaces: &Api<Namespace>, name: &str) -> Result<Timestamp> {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let created = namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    let time = created.metadata.creation_timestamp;
    Ok(time.context("no creation time")?.0)
}

/// Returns the resource version of the list of Namespaces.
async fn version(namespaces: &Api<Namespace>) -> Result<String> {
    let list = namespaces.list(&ListParams::default()).await?;
    list.metadata.resource_version.context("no version")
}

/// Returns the names in the first events of a watch with this fault. The watch starts before the
/// creation of two Namespaces, `first` and `second`. It is opened afterwards.
async fn watched(fault: Fault, events: usize) -> Result<Vec<String>> {
    let server = start().await?;
    let namespaces: Api<Namespace> = Api::all(admin(&server).await?);
    let version = version(&namespaces).await?;
    for name in ["first", "second"] {
        create(&namespaces, name).await?;
    }
    server.set_faults(Faults::default().with(fault, 1.0, "watch", ""));
    let events = namespaces
        .watch(&WatchParams::default(), &version)
        .await?
        .take(events)
        .try_collect::<Vec<_>>();
    let mut names = Vec::new();
    for event in timeout(SOON, events).await?? {
        let WatchEvent::Added(namespace) = event else {
            bail!("{event:?}");
        };
        names.push(namespace.metadata.name.context("no name")?);
    }
    Ok(names)
}
