//! Access review of a bearer token: TokenReview, then SubjectAccessReview, both answered by the API
//! server.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::core::Request;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::connection::WRITE_DEADLINE;
use super::error::ApiError;
use super::raw_request;

/// The result of an access review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The token is valid, and its user has the permission.
    Allowed,
    /// The token is not valid.
    Unauthenticated,
    /// The user lacks the permission; this is the username.
    Forbidden(String),
}

/// Reviews whether the bearer of this token may `get` this path (`nonResourceURLs` of a
/// ClusterRole).
///
/// Fails after [`WRITE_DEADLINE`], and with any error of the API server.
pub async fn may_get(client: &Client, token: &str, path: &str) -> Result<Access, ApiError> {
    match timeout(WRITE_DEADLINE, review_access(client, token, path)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// The response to a review, without the fields that are not used.
#[derive(Deserialize)]
struct ReviewResponse<S> {
    status: Option<S>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenReviewStatus {
    authenticated: Option<bool>,
    user: Option<UserInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AccessReviewStatus {
    allowed: bool,
    denied: Option<bool>,
}

/// Creates a review and returns the status that the API server filled in.
async fn post_review<K, S>(client: &Client, review: &K) -> kube::Result<S>
where
    K: Resource<DynamicType = ()> + Serialize,
    S: Default + DeserializeOwned,
{
    let body = serde_json::to_vec(review).map_err(kube::Error::SerdeError)?;
    let request = Request::new(K::url_path(&(), None)).create(&PostParams::default(), body);
    let text = raw_request::response_text(client, request).await?;
    let answer: ReviewResponse<S> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
    Ok(answer.status.unwrap_or_default())
}

async fn review_access(client: &Client, token: &str, path: &str) -> kube::Result<Access> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let status: TokenReviewStatus = post_review(client, &review).await?;
    let user = match status.user {
        Some(user) if status.authenticated == Some(true) => user,
        Some(_) | None => return Ok(Access::Unauthenticated),
    };
    let name = user.username.clone().unwrap_or_default();
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let status: AccessReviewStatus = post_review(client, &review).await?;
    if status.allowed && status.denied != Some(true) {
        Ok(Access::Allowed)
    } else {
        Ok(Access::Forbidden(name))
    }
}
