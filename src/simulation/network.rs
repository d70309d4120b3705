//! The network between clients and the API server: no sockets, but delays, faults and cuts.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apiserver_sim::User;
use axum::body::{Body, Bytes, to_bytes};
use futures::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use lab::random::SeededRng;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tower::BoxError;

use super::faults::{Fault, Party, Verb, latency};
use super::world::World;

/// The maximum size of a body.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The header of a request for a certificate that identifies it in the simulation.
pub(super) const ASKED: &str = "x-asked";

/// The state of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Up,
    /// Nothing is transferred, and nothing breaks.
    Cut,
    /// The client is gone.
    Closed,
}

/// A client's connection to the API server.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) party: Party,
    state: Mutex<LinkState>,
    /// It wakes those who wait in their order: a channel of tokio's `watch` wakes them in any order.
    changed: Notify,
    /// The number of requests so far.
    requests: AtomicU64,
}

impl Link {
    pub(super) fn new(name: &str, party: Party) -> Arc<Link> {
        Arc::new(Link {
            name: name.to_owned(),
            party,
            state: Mutex::new(LinkState::Up),
            changed: Notify::new(),
            requests: AtomicU64::new(0),
        })
    }

    pub(super) fn set(&self, state: LinkState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_waiters();
    }

    /// Waits for one of these states.
    async fn wait_for(&self, is_awaited: impl Fn(LinkState) -> bool) -> LinkState {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if is_awaited(state) {
                return state;
            }
            changed.await;
        }
    }

    /// Waits until data can be transferred. It is an error if the client is gone.
    async fn open(&self) -> Result<(), BoxError> {
        match self.wait_for(|state| state != LinkState::Cut).await {
            LinkState::Closed => Err("the connection is closed".into()),
            LinkState::Up | LinkState::Cut => Ok(()),
        }
    }

    async fn closed(&self) {
        self.wait_for(|state| state == LinkState::Closed).await;
    }
}

/// A client of the API server.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) user: Arc<User>,
    pub(super) link: Arc<Link>,
    /// The time after which a connection without data is closed.
    pub(super) read_timeout: Duration,
}

/// The known parts of a request.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) method: Method,
    pub(super) path: String,
    /// True for a write that is not stored.
    pub(super) is_dry_run: bool,
}

impl Call {
    fn of(request: &Request<Body>) -> Call {
        let uri = request.uri();
        let verb = match *request.method() {
            Method::GET if uri.query().is_some_and(|query| query.contains("watch=")) => Verb::Watch,
            Method::GET => Verb::Read,
            _ => Verb::Write,
        };
        Call {
            verb,
            method: request.method().clone(),
            path: uri.path().to_owned(),
            is_dry_run: uri.query().is_some_and(|query| query.contains("dryRun")),
        }
    }

    /// The name and the subresource, if the call is for an object of this collection.
    pub(super) fn object(&self, collection: &str) -> Option<(&str, &str)> {
        let (_, rest) = self.path.split_once(collection)?;
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        Some(rest.split_once('/').unwrap_or((rest, "")))
    }
}

impl Client {
    /// Sends a request of a kubelet or a controller. Returns the status and the object; an error if no
    /// answer comes.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        asked: Option<u64>,
    ) -> Result<(u16, Value), BoxError> {
        let media = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, media);
        if let Some(asked) = asked {
            request = request.header(ASKED, asked);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.send(request.body(body)?).await?;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), MAX_BODY).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        match timeout(self.read_timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err("read timeout".into()),
        }
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (world, link) = (&self.world, &self.link);
        let number = link.requests.fetch_add(1, Ordering::Relaxed);
        let mut rng = world.rng(&link.name, number);
        let call = Call::of(&request);
        let fault = world.draw_fault(&link.name, link.party, &call, &mut rng);
        link.open().await?;
        sleep(latency(fault, &mut rng)).await;
        link.open().await?;
        if let Some(answer) = refusal(fault, &mut rng) {
            return Ok(answer);
        }
        match fault {
            Some(Fault::Reset) => return Err("connection reset".into()),
            Some(Fault::Hang) => std::future::pending().await,
            _ => {}
        }
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, to_bytes(body, MAX_BODY).await?);
        if fault == Some(Fault::LateWrite) {
            let (client, late) = (self.clone(), Duration::from_secs(30).mul_f64(rng.share()));
            tokio::spawn(async move {
                sleep(late).await;
                // An answer finds no one.
                let _ = client.deliver(&call, request, true).await;
            });
            return std::future::pending().await;
        }
        let response = self.deliver(&call, request, false).await?;
        if call.verb == Verb::Watch && response.status() == StatusCode::OK {
            return Ok(self.watched(response, fault, rng));
        }
        match fault {
            Some(Fault::LostAnswer) => return Err("connection reset".into()),
            Some(Fault::HangAfter) => std::future::pending().await,
            _ => {}
        }
        sleep(latency(fault, &mut rng)).await;
        link.open().await?;
        Ok(response)
    }

    /// Lets the API server serve a request. Its answer is complete, except for a watch.
    async fn deliver(
        &self,
        call: &Call,
        request: Request<Bytes>,
        is_late: bool,
    ) -> Result<Response<Body>, BoxError> {
        let asked = request.headers().get(ASKED);
        let asked = asked.and_then(|asked| asked.to_str().ok()?.parse().ok());
        let world = &self.world;
        world.before(self, call, request.body(), is_late);
        // It has no point of suspension before the object is stored.
        let response = world.api.serve(&self.user, request.map(Body::from)).await;
        if call.verb == Verb::Watch && response.status() == StatusCode::OK {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_BODY).await?;
        if call.verb == Verb::Write {
            world.after(self, call, parts.status.as_u16(), &body, asked);
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// The answer to a watch, whose events pass the network one by one.
    fn watched(
        &self,
        response: Response<Body>,
        fault: Option<Fault>,
        rng: SeededRng,
    ) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let state = (body.into_data_stream(), self.link.clone(), rng, 0usize);
        let lines = stream::unfold(state, move |(mut events, link, mut rng, sent)| async move {
            let ends = sent > rng.clone().below(6);
            match fault {
                Some(Fault::WatchEnd) if ends => return None,
                Some(Fault::WatchSilent) if ends => {
                    link.closed().await;
                    return None;
                }
                _ => {}
            }
            let asked = Instant::now();
            let event = tokio::select! {
                biased;
                () = link.closed() => return None,
                event = events.next() => event?,
            };
            let mut bytes = event.unwrap_or_default();
            // An event that was produced while another one was in transit follows it immediately.
            let is_first = sent == 0 || Instant::now() > asked;
            let late = match fault {
                Some(Fault::WatchLate) if is_first => Duration::from_secs(6).mul_f64(rng.share()),
                _ => latency(None, &mut rng),
            };
            sleep(late).await;
            link.open().await.ok()?;
            if fault == Some(Fault::WatchTorn) && ends {
                bytes.truncate(bytes.len() / 2);
                let torn: Result<Bytes, Infallible> = Ok(bytes);
                let nothing = Body::empty().into_data_stream();
                return Some((torn, (nothing, link, rng, sent + 1)));
            }
            Some((Ok(bytes), (events, link, rng, sent + 1)))
        });
        Response::from_parts(parts, Body::from_stream(lines))
    }
}

/// The answer of an API server that does not serve the request.
fn refusal(fault: Option<Fault>, rng: &mut SeededRng) -> Option<Response<Body>> {
    let seconds = 1 + rng.below(4);
    let (code, reason, after) = match fault? {
        Fault::Conflict => (409, "Conflict", 0),
        Fault::Gone => (410, "Expired", 0),
        Fault::TooManyRequests => (429, "TooManyRequests", seconds),
        Fault::Internal => (500, "InternalError", 0),
        Fault::Unavailable => (503, "ServiceUnavailable", 0),
        Fault::Behind => (504, "Timeout", 0),
        _ => return None,
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the simulation", "reason": reason, "code": code,
        "details": {"retryAfterSeconds": after},
    });
    let response = Response::builder()
        .status(code)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(status.to_string()));
    response.ok()
}

impl tower::Service<Request<kube::client::Body>> for Client {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move {
            let sent = pin!(client.send(request.map(Body::new)));
            sent.await
        })
    }
}
