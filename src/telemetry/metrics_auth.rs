//! Authorization of `/metrics`: the bearer of a token must be allowed to `get` the path `/metrics`.
//!
//! A flood of invalid tokens must not keep a scraper with a valid one from its metrics:
//!
//! - Grants and rejections are cached apart, so that no rejection evicts a grant. A cached answer
//!   never waits.
//! - One token of each client address is reviewed at a time, and few of all addresses. A new valid
//!   token waits for those of its own address, and for one of each other address.
//! - After a rejection the next review for that address waits for `REJECTION_PAUSE`, which bounds
//!   the load on the API server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use ring::digest::{SHA256, digest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::token_review::{Access, may_get};
use judge::finding::escaped;

/// The path of the metrics.
const PATH: &str = "/metrics";
/// Validity of a cached grant. A revoked permission stays effective for this long.
const GRANT_LIFETIME: Duration = Duration::from_secs(60);
/// Validity of a cached rejection.
const REJECTION_LIFETIME: Duration = Duration::from_secs(5);
/// Maximum number of cached grants.
const MAX_GRANTS: usize = 64;
/// Maximum number of cached rejections.
const MAX_REJECTIONS: usize = 256;
/// Maximum length of a token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Maximum number of concurrent access reviews.
const MAX_CONCURRENT_REVIEWS: usize = 4;
/// Time that a request may wait for a review to start.
const REVIEW_QUEUE_TIMEOUT: Duration = Duration::from_secs(8);
/// Time from a rejection to the next review for the same client address.
const REJECTION_PAUSE: Duration = Duration::from_millis(100);

/// Authorizes requests for `/metrics` by access reviews, and caches the answers.
pub struct MetricsAuth {
    client: Client,
    granted: Mutex<Cache<()>>,
    rejected: Mutex<Cache<AuthError>>,
    reviews: Semaphore,
    /// One place for each client address that has requests in review. Connections bound their number.
    places: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    /// True if the last review failed; logged once.
    last_review_failed: AtomicBool,
}

/// A request that is not authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The token is missing or invalid.
    Unauthenticated,
    /// This user, whose name is escaped, lacks the permission.
    Forbidden(String),
    /// The review failed.
    Unavailable,
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        match self {
            AuthError::Unauthenticated => {
                let how = [(header::WWW_AUTHENTICATE, "Bearer")];
                let why = "expected a token that the API server accepts (Authorization: Bearer)\n";
                (StatusCode::UNAUTHORIZED, how, why).into_response()
            }
            AuthError::Forbidden(user) => {
                let why = format!("{user} may not get the nonResourceURL {PATH}\n");
                (StatusCode::FORBIDDEN, why).into_response()
            }
            AuthError::Unavailable => {
                let why = "the API server cannot check this token\n";
                (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
            }
        }
    }
}

impl MetricsAuth {
    /// An authorizer that uses this client for reviews.
    pub fn new(client: Client) -> MetricsAuth {
        MetricsAuth {
            client,
            granted: Mutex::new(Cache::new(GRANT_LIFETIME, MAX_GRANTS)),
            rejected: Mutex::new(Cache::new(REJECTION_LIFETIME, MAX_REJECTIONS)),
            reviews: Semaphore::new(MAX_CONCURRENT_REVIEWS),
            places: Mutex::default(),
            last_review_failed: AtomicBool::new(false),
        }
    }

    /// Authorizes a request by its headers and the client's address.
    pub async fn authorize(&self, headers: &HeaderMap, client: IpAddr) -> Result<(), AuthError> {
        let token = bearer(headers).ok_or(AuthError::Unauthenticated)?;
        let key = TokenDigest::of(token);
        if let Some(known) = self.known(&key) {
            return known;
        }
        let waited = timeout(REVIEW_QUEUE_TIMEOUT, self.turn(client.to_canonical())).await;
        let Ok(Some((place, permit))) = waited else {
            return Err(AuthError::Unavailable);
        };
        // Another request may have brought the answer meanwhile.
        if let Some(known) = self.known(&key) {
            return known;
        }
        let answer = self.review(token, key).await;
        drop(permit);
        if answer.is_err() {
            sleep(REJECTION_PAUSE).await;
        }
        drop(place);
        answer
    }

    /// The cached answer for this token.
    fn known(&self, key: &TokenDigest) -> Option<Result<(), AuthError>> {
        let now = Instant::now();
        if self
            .granted
            .lock()
            .is_ok_and(|granted| granted.get(key, now).is_some())
        {
            return Some(Ok(()));
        }
        let rejected = self.rejected.lock().ok()?;
        rejected.get(key, now).cloned().map(Err)
    }

    /// Waits for the place of this client address, then for a review.
    async fn turn(&self, client: IpAddr) -> Option<(OwnedSemaphorePermit, SemaphorePermit<'_>)> {
        let place = {
            let mut places = self.places.lock().ok()?;
            places.retain(|_, place| Arc::strong_count(place) > 1);
            let place = places.entry(client);
            place.or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        let place = place.acquire_owned().await.ok()?;
        Some((place, self.reviews.acquire().await.ok()?))
    }

    async fn review(&self, token: &str, key: TokenDigest) -> Result<(), AuthError> {
        let answer = may_get(&self.client, token, PATH).await;
        let failed = self
            .last_review_failed
            .swap(answer.is_err(), Ordering::Relaxed);
        let rejection = match answer {
            Ok(Access::Allowed) => {
                if let Ok(mut granted) = self.granted.lock() {
                    granted.add(key, (), Instant::now());
                }
                return Ok(());
            }
            Ok(Access::Unauthenticated) => AuthError::Unauthenticated,
            Ok(Access::Forbidden(user)) => AuthError::Forbidden(escaped(user.as_bytes())),
            Err(why) => {
                if !failed {
                    tracing::warn!("cannot check who may read the metrics: {why}");
                }
                return Err(AuthError::Unavailable);
            }
        };
        if let Ok(mut rejected) = self.rejected.lock() {
            rejected.add(key, rejection.clone(), Instant::now());
        }
        Err(rejection)
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(token)
}

/// SHA-256 of a token, so that no token is kept.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct TokenDigest(Vec<u8>);

impl TokenDigest {
    fn of(token: &str) -> TokenDigest {
        TokenDigest(digest(&SHA256, token.as_bytes()).as_ref().to_vec())
    }
}

/// Cached answers, each with its expiry.
#[derive(Debug)]
struct Cache<A> {
    answers: HashMap<TokenDigest, (Instant, A)>,
    lifetime: Duration,
    max: usize,
}

impl<A> Cache<A> {
    fn new(lifetime: Duration, max: usize) -> Cache<A> {
        Cache {
            answers: HashMap::new(),
            lifetime,
            max,
        }
    }

    fn get(&self, key: &TokenDigest, now: Instant) -> Option<&A> {
        let (until, answer) = self.answers.get(key)?;
        (now < *until).then_some(answer)
    }

    fn add(&mut self, key: TokenDigest, answer: A, now: Instant) {
        self.answers.retain(|_, (until, _)| now < *until);
        if self.answers.len() >= self.max
            && let Some(first) = self.answers.iter().min_by_key(|(_, (until, _))| *until)
        {
            let first = first.0.clone();
            self.answers.remove(&first);
        }
        self.answers.insert(key, (now + self.lifetime, answer));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_expire_and_are_bounded() {
        let begun = Instant::now();
        let is_known = |cache: &Cache<()>, token: &str, after: Duration| {
            cache.get(&TokenDigest::of(token), begun + after).is_some()
        };
        let mut cache = Cache::new(GRANT_LIFETIME, MAX_GRANTS);
        let second = Duration::from_secs(1);
        cache.add(TokenDigest::of("first"), (), begun);
        assert!(is_known(&cache, "first", GRANT_LIFETIME - second));
        assert!(!is_known(&cache, "first", GRANT_LIFETIME));
        assert!(!is_known(&cache, "firs", Duration::ZERO));
        for one in 0..MAX_GRANTS {
            let later = Duration::from_millis(u64::try_from(one).unwrap() + 1);
            cache.add(TokenDigest::of(&format!("{one}")), (), begun + later);
        }
        assert_eq!(cache.answers.len(), MAX_GRANTS);
        assert!(!is_known(&cache, "first", Duration::ZERO));
        cache.add(TokenDigest::of("late"), (), begun + 2 * GRANT_LIFETIME);
        assert_eq!(cache.answers.len(), 1);
    }

    #[test]
    fn only_bearer_tokens_are_accepted() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc"), Some("abc".into()));
        assert_eq!(token("bearer  abc"), Some("abc".into()));
        for wrong in ["abc", "Basic abc", "Bearer", "Bearer ", "Bearerabc"] {
            assert_eq!(token(wrong), None, "{wrong}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        assert_eq!(token(&long), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
