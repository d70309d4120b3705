//! Authorization of `/metrics`: the bearer of a token must be allowed to `get` the path `/metrics`.
//!
//! Only grants are cached, so that a flood of invalid tokens evicts none of them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::cluster::token_review::{Access, may_get};
use judge::finding::escaped;

/// The path of the metrics.
const PATH: &str = "/metrics";
/// Validity of a cached grant. A revoked permission stays effective for this long.
const GRANT_LIFETIME: Duration = Duration::from_secs(60);
/// Maximum number of cached grants.
const MAX_GRANTS: usize = 64;
/// Maximum length of a token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Maximum number of concurrent access reviews.
const MAX_CONCURRENT_REVIEWS: usize = 4;
/// Time that a request may wait for a review to start.
const REVIEW_QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Authorizes requests for `/metrics` by access reviews, and caches grants.
pub struct MetricsAuth {
    client: Client,
    granted: Mutex<Grants>,
    reviews: Semaphore,
    /// True if the last review failed; logged once.
    last_review_failed: AtomicBool,
}

/// A request that is not authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The token is missing or invalid.
    Unauthenticated,
    /// This user lacks the permission.
    Forbidden(String),
    /// The review failed.
    Unavailable,
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        match self {
            AuthError::Unauthenticated => {
                let how = [(header::WWW_AUTHENTICATE, "Bearer")];
                let why = "expected a token that the API server knows (Authorization: Bearer)\n";
                (StatusCode::UNAUTHORIZED, how, why).into_response()
            }
            AuthError::Forbidden(user) => {
                let user = escaped(user.as_bytes());
                let why = format!("{user} may not get the nonResourceURL {PATH}\n");
                (StatusCode::FORBIDDEN, why).into_response()
            }
            AuthError::Unavailable => {
                let why = "the API server cannot be asked whether this token may\n";
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
            granted: Mutex::default(),
            reviews: Semaphore::new(MAX_CONCURRENT_REVIEWS),
            last_review_failed: AtomicBool::new(false),
        }
    }

    /// Authorizes a request by its headers.
    pub async fn authorize(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let token = bearer(headers).ok_or(AuthError::Unauthenticated)?;
        let key = TokenDigest::of(token);
        if self.grants(|grants| grants.contains(&key, Instant::now())) {
            return Ok(());
        }
        let Ok(Ok(_permit)) = timeout(REVIEW_QUEUE_TIMEOUT, self.reviews.acquire()).await else {
            return Err(AuthError::Unavailable);
        };
        let answer = may_get(&self.client, token, PATH).await;
        let failed = self
            .last_review_failed
            .swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok(Access::Allowed) => {
                self.grants(|grants| {
                    grants.add(key, Instant::now());
                    true
                });
                Ok(())
            }
            Ok(Access::Unauthenticated) => Err(AuthError::Unauthenticated),
            Ok(Access::Forbidden(user)) => Err(AuthError::Forbidden(user)),
            Err(why) => {
                if !failed {
                    tracing::warn!("cannot ask who may read the metrics: {why}");
                }
                Err(AuthError::Unavailable)
            }
        }
    }

    fn grants(&self, with: impl FnOnce(&mut Grants) -> bool) -> bool {
        self.granted
            .lock()
            .is_ok_and(|mut grants| with(&mut grants))
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

/// Cached grants, each with its expiry.
#[derive(Debug, Default)]
struct Grants(HashMap<TokenDigest, Instant>);

impl Grants {
    fn contains(&self, key: &TokenDigest, now: Instant) -> bool {
        self.0.get(key).is_some_and(|until| now < *until)
    }

    fn add(&mut self, key: TokenDigest, now: Instant) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() >= MAX_GRANTS
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until)
        {
            let first = first.0.clone();
            self.0.remove(&first);
        }
        self.0.insert(key, now + GRANT_LIFETIME);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grants_expire_after_a_minute_and_are_bounded() {
        let begun = Instant::now();
        let mut grants = Grants::default();
        grants.add(TokenDigest::of("first"), begun);
        assert!(grants.contains(
            &TokenDigest::of("first"),
            begun + GRANT_LIFETIME - Duration::from_secs(1)
        ));
        assert!(!grants.contains(&TokenDigest::of("first"), begun + GRANT_LIFETIME));
        assert!(!grants.contains(&TokenDigest::of("firs"), begun));
        for one in 0..MAX_GRANTS {
            let later = Duration::from_millis(u64::try_from(one).unwrap() + 1);
            grants.add(TokenDigest::of(&format!("{one}")), begun + later);
        }
        assert_eq!(grants.0.len(), MAX_GRANTS);
        assert!(!grants.contains(&TokenDigest::of("first"), begun));
        grants.add(TokenDigest::of("late"), begun + 2 * GRANT_LIFETIME);
        assert_eq!(grants.0.len(), 1);
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
