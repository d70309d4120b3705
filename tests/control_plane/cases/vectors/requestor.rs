//! The users of the vectors.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Client;

use control_plane::cluster::Cluster;
use testkit::vector::RequestorSpec;

/// The group of all authenticated users.
pub const AUTHENTICATED: &str = "system:authenticated";
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
const OF_CERTIFICATE: &str = "X509SHA256=";

/// The clients of all users so far.
#[derive(Default)]
pub struct Requestors {
    clients: BTreeMap<String, Client>,
}

impl Requestors {
    /// Returns a client with a client certificate of this user. If a certificate cannot express the
    /// user, an administrator impersonates it: with a UID, other credential IDs, or more than two
    /// groups.
    pub async fn client(&mut self, cluster: &Cluster, user: &RequestorSpec) -> Result<Client> {
        let key = format!("{user:?}");
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let client = match organizations(user) {
            Some(groups) => cluster.client_for(&user.username, &groups).await?,
            None => cluster.client_with(impersonation(user)?).await?,
        };
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Returns true if a client certificate can express the user.
pub fn has_certificate(user: &RequestorSpec) -> bool {
    organizations(user).is_some()
}

/// Returns the organizations of the user's certificate. The API server adds the group of
/// authenticated users.
fn organizations(user: &RequestorSpec) -> Option<Vec<&str>> {
    let mut groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
    groups.pop_if(|last| *last == AUTHENTICATED);
    let is_plain = user.uid.is_empty()
        && groups.len() <= 2
        && matches!(user.credential_ids.as_slice(), [id] if id.starts_with(OF_CERTIFICATE));
    is_plain.then_some(groups)
}

fn impersonation(user: &RequestorSpec) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let extra = format!("impersonate-extra-{}", CREDENTIAL_ID.replace('/', "%2f"));
    let mut headers = vec![("impersonate-user", &user.username)];
    headers.extend(user.groups.iter().map(|group| ("impersonate-group", group)));
    headers.extend((!user.uid.is_empty()).then_some(("impersonate-uid", &user.uid)));
    headers.extend(user.credential_ids.iter().map(|id| (extra.as_str(), id)));
    let header =
        |(name, value): (&str, &String)| Ok((name.parse()?, HeaderValue::from_str(value)?));
    headers.into_iter().map(header).collect()
}

/// Checks that the API server has recorded the intended user.
pub fn is_recorded(user: &RequestorSpec, request: &CertificateSigningRequest) -> Result<()> {
    let spec = &request.spec;
    let extra = spec.extra.clone().unwrap_or_default();
    let ids = extra.get(CREDENTIAL_ID).cloned().unwrap_or_default();
    let is_id = match (has_certificate(user), ids.as_slice()) {
        // The fingerprint differs in every run.
        (true, [id]) => id.starts_with(OF_CERTIFICATE),
        (true, _) => false,
        (false, ids) => ids == user.credential_ids,
    };
    let is_user = spec.username.as_deref() == Some(user.username.as_str())
        && spec.uid.as_deref().unwrap_or_default() == user.uid
        && spec.groups.as_deref().unwrap_or_default() == user.groups;
    if is_user && is_id {
        return Ok(());
    }
    let found = (&spec.username, &spec.uid, &spec.groups, &spec.extra);
    bail!("expected {user:?}, the API server has recorded {found:?}")
}
