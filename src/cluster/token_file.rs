//! Token file, such as that of a ServiceAccount, which the kubelet rotates.
//!
//! kube decides by the wall clock when to re-read such a file. A clock that was ahead for a moment
//! would delay that until the token has expired.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::{HeaderValue, Request};
use thiserror::Error;
use tokio::time::Instant;

/// Minimum time between two reads of the file.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// A token that cannot be read.
#[derive(Debug, Error)]
#[error("the token cannot be read from {}: {failure}", path.display())]
pub struct TokenError {
    /// The token file.
    pub path: PathBuf,
    /// The cause.
    pub failure: TokenFailure,
}

/// The cause of a token that cannot be read.
#[derive(Debug, Error)]
pub enum TokenFailure {
    /// The file cannot be read.
    #[error("{0}")]
    File(io::Error),
    /// The file is empty, for instance while it is being written.
    #[error("it is empty")]
    Empty,
    /// The text is not a valid header value.
    #[error("{0}")]
    Header(InvalidHeaderValue),
}

/// A token file, and the header made of its last valid content.
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    /// Reads the file for the first time.
    pub(super) fn open(path: &Path) -> Result<TokenFile, TokenError> {
        let first = read(path).map_err(|failure| TokenError {
            path: path.to_owned(),
            failure,
        })?;
        Ok(TokenFile {
            path: path.to_owned(),
            last: Mutex::new((first, Instant::now())),
        })
    }

    /// Adds the `Authorization` header to a request.
    pub(super) fn authorize<B>(&self, mut request: Request<B>) -> Request<B> {
        request.headers_mut().insert(AUTHORIZATION, self.token());
        request
    }

    fn token(&self) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, since) = &mut *last;
        if since.elapsed() >= REREAD_INTERVAL {
            // The last valid token stays in use; the API server decides whether it still is one.
            if let Ok(fresh) = read(&self.path) {
                *token = fresh;
            }
            *since = Instant::now();
        }
        token.clone()
    }
}

fn read(path: &Path) -> Result<HeaderValue, TokenFailure> {
    let token = std::fs::read_to_string(path).map_err(TokenFailure::File)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(TokenFailure::Empty);
    }
    let header = format!("Bearer {token}").parse();
    let mut header: HeaderValue = header.map_err(TokenFailure::Header)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_read_and_a_broken_file_leaves_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let file = TokenFile::open(&path).unwrap();
        let shown = || {
            let request = file.authorize(Request::new(()));
            request.headers()[AUTHORIZATION]
                .to_str()
                .unwrap()
                .to_owned()
        };
        let age = || file.last.lock().unwrap().1 -= REREAD_INTERVAL;

        std::fs::write(&path, "two").unwrap();
        assert_eq!(shown(), "Bearer one");
        age();
        assert_eq!(shown(), "Bearer two");
        std::fs::write(&path, "\n").unwrap();
        age();
        assert_eq!(shown(), "Bearer two");
        std::fs::remove_file(&path).unwrap();
        age();
        assert_eq!(shown(), "Bearer two");
        assert!(TokenFile::open(&path).is_err());
    }
}
