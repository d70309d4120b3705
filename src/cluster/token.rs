//! A token in a file, which the kubelet replaces when it grows old.
//!
//! kube reads such a file again when the wall clock says so. A clock that was ahead for a moment would
//! keep it from doing so until that time has come again, and the token would be void long before.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};

/// How long the file is not read again.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// What the file had when it was read last.
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    /// Reads it for the first time.
    pub(super) fn open(path: &Path) -> Result<TokenFile> {
        Ok(TokenFile {
            path: path.to_owned(),
            last: Mutex::new((read(path)?, Instant::now())),
        })
    }

    /// The request with the token.
    pub(super) fn authorize<B>(&self, mut request: Request<B>) -> Request<B> {
        request.headers_mut().insert(AUTHORIZATION, self.token());
        request
    }

    fn token(&self) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, since) = &mut *last;
        if since.elapsed() >= READ_AGAIN {
            // One that cannot be read leaves the last one in force: the API server has the say.
            if let Ok(fresh) = read(&self.path) {
                *token = fresh;
            }
            *since = Instant::now();
        }
        token.clone()
    }
}

fn read(path: &Path) -> Result<HeaderValue> {
    let cannot = || format!("the token cannot be read from {}", path.display());
    let token = std::fs::read_to_string(path).with_context(cannot)?;
    let token = token.trim();
    // Somebody is about to write it.
    ensure!(!token.is_empty(), "{}: it is empty", cannot());
    let mut header: HeaderValue = format!("Bearer {token}").parse().with_context(cannot)?;
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
        let age = || file.last.lock().unwrap().1 -= READ_AGAIN;

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
