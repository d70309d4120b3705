//! Authentication by client certificate or bearer token, and impersonation.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::FromDer;

use super::entropy::Entropy;
use super::status_error::StatusError;

const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The UID. Empty for users with a client certificate.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Extra information, such as the ID of the credential.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Creates a user with these groups and `system:authenticated`.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push(AUTHENTICATED.into());
        User {
            name: name.to_owned(),
            uid: String::new(),
            groups,
            extra: BTreeMap::new(),
        }
    }

    fn anonymous() -> User {
        User {
            name: ANONYMOUS.into(),
            uid: String::new(),
            groups: vec![UNAUTHENTICATED.into()],
            extra: BTreeMap::new(),
        }
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }

    /// Returns the node name, if the user is a node (`pkg/auth/nodeidentifier`).
    pub(super) fn node(&self) -> Option<&str> {
        let name = self.name.strip_prefix("system:node:")?;
        self.is_in("system:nodes").then_some(name)
    }

    /// Returns `NAMESPACE` and `NAME`, if the user is a service account.
    pub(super) fn service_account(&self) -> Option<(&str, &str)> {
        self.name
            .strip_prefix("system:serviceaccount:")?
            .split_once(':')
    }
}

/// Returns the user that a client certificate names. TLS has verified the certificate.
pub(super) fn by_certificate(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().last()?.as_str().ok()?;
    let groups: Vec<&str> = subject
        .iter_organization()
        .filter_map(|one| one.as_str().ok())
        .collect();
    let mut user = User::new(name, &groups);
    let mut id = String::from("X509SHA256=");
    for byte in ring::digest::digest(&ring::digest::SHA256, certificate).as_ref() {
        // Writing to text cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    user.extra.insert(
        "authentication.kubernetes.io/credential-id".into(),
        vec![id],
    );
    Some(user)
}

/// Issued bearer tokens.
#[derive(Default)]
pub(super) struct Tokens {
    users: Mutex<HashMap<String, Arc<User>>>,
}

impl Tokens {
    /// Issues a new token for a user.
    pub(super) fn issue(&self, user: User) -> String {
        let token = super::metadata::random_hex(&Entropy::default(), 32);
        self.accept(&token, user);
        token
    }

    /// Accepts this token for a user.
    pub(super) fn accept(&self, token: &str, user: User) {
        self.users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.to_owned(), Arc::new(user));
    }

    /// Revokes a token.
    pub(super) fn revoke(&self, token: &str) {
        self.users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(token);
    }

    /// Returns the user of a token.
    pub(super) fn user(&self, token: &str) -> Option<Arc<User>> {
        self.users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .cloned()
    }
}

/// Authenticates a request on a connection with this client certificate.
pub(super) fn authenticate(
    certificate: Option<&Arc<User>>,
    headers: &HeaderMap,
    tokens: &Tokens,
) -> Result<Arc<User>, StatusError> {
    if let Some(user) = certificate {
        return Ok(Arc::clone(user));
    }
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Ok(Arc::new(User::anonymous()));
    };
    let token = authorization.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    match token {
        Some(token) => tokens.user(token).ok_or_else(StatusError::unauthorized),
        None => Ok(Arc::new(User::anonymous())),
    }
}

/// Returns the user that the request impersonates by `Impersonate-User` and related headers.
pub(super) fn impersonated(headers: &HeaderMap) -> Option<User> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let name = text("impersonate-user")?;
    let groups: Vec<&str> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let mut user = User::new(name, &groups);
    if groups.contains(&AUTHENTICATED) || groups.contains(&UNAUTHENTICATED) {
        user.groups.pop();
    } else if name == ANONYMOUS {
        user.groups.pop();
        user.groups.push(UNAUTHENTICATED.into());
    }
    if let Some((namespace, _)) = user.service_account().filter(|_| groups.is_empty()) {
        let all = format!("system:serviceaccounts:{namespace}");
        user.groups
            .splice(0..0, ["system:serviceaccounts".into(), all]);
    }
    user.uid = text("impersonate-uid").unwrap_or_default().to_owned();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix("impersonate-extra-")
            && let Ok(value) = value.to_str()
        {
            let key = key.replace("%2f", "/");
            user.extra.entry(key).or_default().push(value.to_owned());
        }
    }
    Some(user)
}
