//! A layer of a client that learns the API server's time from its answers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::DATE;
use http::{HeaderMap, Request, Response, Uri};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tower::{Layer, Service};

use super::clock::Clock;

/// Learns from every answer but that of a watch.
#[derive(Clone, Debug)]
pub(super) struct DateLayer(pub(super) Clock);

impl<S> Layer<S> for DateLayer {
    type Service = DateService<S>;

    fn layer(&self, inner: S) -> DateService<S> {
        DateService {
            inner,
            clock: self.0.clone(),
        }
    }
}

/// The service of [`DateLayer`].
#[derive(Clone, Debug)]
pub(super) struct DateService<S> {
    inner: S,
    clock: Clock,
}

impl<S, A, B> Service<Request<A>> for DateService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let sent = (!is_watch(request.uri())).then(|| self.clock.uptime());
        let answer = self.inner.call(request);
        let clock = self.clock.clone();
        Box::pin(async move {
            let answer = answer.await?;
            // A gateway answers by itself with such a status.
            if let Some(sent) = sent.filter(|_| !answer.status().is_server_error())
                && let Some(date) = date(answer.headers())
            {
                clock.learn(date, sent);
            }
            Ok(answer)
        })
    }
}

/// Returns true for the request of a watch. Its answer may come when something changes.
fn is_watch(uri: &Uri) -> bool {
    let parameters = uri.query().unwrap_or_default();
    parameters
        .split('&')
        .any(|parameter| parameter.starts_with("watch="))
}

/// The date of an answer. If a proxy has added another, the earlier one.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let parser = DateTimeParser::new();
    let texts = headers.get_all(DATE).into_iter();
    let texts = texts.filter_map(|text| text.to_str().ok());
    texts
        .filter_map(|text| parser.parse_timestamp(text).ok())
        .min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    const DATES: [&str; 2] = [
        "Mon, 30 Nov 2026 12:00:30 GMT",
        "Mon, 30 Nov 2026 12:00:00 GMT",
    ];
    const EARLIER: &str = "2026-11-30T12:00:00Z";

    /// The time that is learned from an answer with this status and these dates.
    async fn learned(path: &'static str, status: u16, dates: &[&'static str]) -> Option<Timestamp> {
        let clock = Clock::counted_from("2026-11-30T08:00:00Z".parse().unwrap());
        let dates = dates.to_vec();
        let server = service_fn(move |_: Request<()>| {
            let mut answer = Response::builder().status(status);
            for date in &dates {
                answer = answer.header(DATE, *date);
            }
            let answer = answer.body(()).unwrap();
            async move { Ok::<_, Infallible>(answer) }
        });
        let request = Request::get(path).body(()).unwrap();
        let client = DateLayer(clock.clone()).layer(server);
        assert_eq!(client.oneshot(request).await.unwrap().status(), status);
        clock.server_time()
    }

    #[tokio::test]
    async fn the_earliest_date_of_an_answer_is_learned() {
        for (path, status) in [
            ("/version", 200),
            ("/api/v1/nodes?limit=500&resourceVersion=0", 200),
            ("/api/v1/nodes?fieldSelector=metadata.name%3Dwatch", 404),
            ("/version", 403),
        ] {
            let time = learned(path, status, &DATES).await.unwrap();
            let after = time.duration_since(EARLIER.parse().unwrap());
            assert!(
                !after.is_negative() && after.as_secs() < 29,
                "{path} {time}"
            );
        }
    }

    #[tokio::test]
    async fn watches_gateways_and_other_texts_are_not_learned_from() {
        for (path, status, dates) in [
            ("/api/v1/nodes?watch=true", 200, &DATES[..]),
            (
                "/api/v1/nodes?allowWatchBookmarks=true&watch=1",
                200,
                &DATES,
            ),
            ("/version", 502, &DATES),
            ("/version", 503, &DATES),
            ("/version", 200, &[]),
            ("/version", 200, &["yesterday"]),
            ("/version", 200, &["Thu, 01 Jan 1970 00:00:00 GMT"]),
        ] {
            let time = learned(path, status, dates).await;
            assert_eq!(time, None, "{path} {status} {dates:?}");
        }
    }
}
