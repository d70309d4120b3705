//! The election, on an API server in memory and in virtual time.

use std::convert::Infallible;
use std::sync::Arc;

use apiserver_sim::{InMemory, User};
use axum::body::Body;
use http::{Request, Response};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::advance;

use super::*;

/// The time that each request takes to arrive, and each answer.
const ONE_WAY: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

fn api_server() -> Arc<InMemory> {
    let begin = "2026-11-24T10:00:00Z".parse().unwrap();
    Arc::new(InMemory::new(begin, 1).unwrap())
}

fn leases(server: &Arc<InMemory>) -> Api<Lease> {
    let server = server.clone();
    let user = Arc::new(User::new("admin", &["system:masters"]));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (server, user) = (server.clone(), user.clone());
        async move {
            sleep(ONE_WAY).await;
            let answer: Response<Body> = server.serve(&user, request.map(Body::new)).await;
            sleep(ONE_WAY).await;
            Ok::<_, Infallible>(answer)
        }
    });
    Api::namespaced(Client::new(service, "default"), "kube-system")
}

fn candidate(server: &Arc<InMemory>, identity: &str) -> Candidate {
    Candidate::new(Election {
        api: leases(server),
        namespace: "kube-system".into(),
        name: "csr-warden".into(),
        identity: identity.into(),
        leadership: Leadership::not_held(),
        leading: watch::channel(false).0,
        report: Box::new(|_| {}),
        clock: Clock::counted_from("2026-11-24T10:00:00Z".parse().unwrap()),
        random: Random::seeded(1),
    })
}

impl Candidate {
    /// Reads the Lease, and acquires or renews it if it may. Returns true if it leads.
    async fn leads_after_a_try(&mut self) -> bool {
        self.try_acquire_or_renew(Instant::now()).await.unwrap();
        self.election.leadership.may_write()
    }
}

async fn set_holder(server: &Arc<InMemory>, holder: Option<&str>) {
    let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
    let (leases, params) = (leases(server), PatchParams::default());
    let patched = leases.patch("csr-warden", &params, &patch).await;
    patched.unwrap();
}

/// A write that starts then ends before another replica may lead.
#[tokio::test(start_paused = true)]
async fn the_right_to_write_counts_from_before_the_renewal_and_leaves_time_for_a_write() {
    let server = api_server();
    let mut one = candidate(&server, "one");
    let sent = Instant::now();
    assert!(one.leads_after_a_try().await);
    assert!(sent.elapsed() >= ONE_WAY * 4);
    let end = sent + DURATION - WRITE_DEADLINE - MARGIN;
    advance(end - Instant::now() - Duration::from_millis(1)).await;
    assert!(one.election.leadership.may_write());
    advance(Duration::from_millis(1)).await;
    assert!(!one.election.leadership.may_write());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_over_once_its_holder_has_not_renewed_it_for_its_duration() {
    let server = api_server();
    let (mut one, mut two) = (candidate(&server, "one"), candidate(&server, "two"));
    for _ in 0..30 {
        assert!(one.leads_after_a_try().await);
        assert!(!two.leads_after_a_try().await);
        advance(SECOND).await;
    }
    let last = Instant::now();
    assert!(one.leads_after_a_try().await);
    while !two.leads_after_a_try().await {
        advance(SECOND).await;
    }
    let free = last.elapsed();
    assert!(free >= DURATION && free < DURATION + SECOND * 8, "{free:?}");
    assert!(!one.election.leadership.may_write());
}

/// An administrator has edited it, or another replica has taken it over.
#[tokio::test(start_paused = true)]
async fn a_lease_of_another_ends_the_right_to_write_at_once() {
    let server = api_server();
    let mut one = candidate(&server, "one");
    assert!(one.leads_after_a_try().await);
    set_holder(&server, Some("two")).await;
    assert!(!one.leads_after_a_try().await);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let server = api_server();
    let (mut one, mut two) = (candidate(&server, "one"), candidate(&server, "two"));
    assert!(one.leads_after_a_try().await);
    assert!(!two.leads_after_a_try().await);
    one.release().await;
    assert!(!one.election.leadership.may_write());
    assert!(two.leads_after_a_try().await);
}

/// Another replica has renewed or taken it between the read and the update.
#[tokio::test(start_paused = true)]
async fn an_update_of_a_lease_that_has_changed_is_a_conflict() {
    let server = api_server();
    let (mut one, mut two) = (candidate(&server, "one"), candidate(&server, "two"));
    assert!(one.leads_after_a_try().await);
    one.release().await;
    let sent = Instant::now();
    let (first, second) = tokio::join!(
        one.try_acquire_or_renew(sent),
        two.try_acquire_or_renew(sent)
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let lead = |candidate: &Candidate| candidate.election.leadership.may_write();
    assert!(lead(&one) != lead(&two));
}
