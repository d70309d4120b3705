//! A file that is read again when it changes.
//!
//! Kubernetes mounts a ConfigMap as a link to a folder that it swaps, so the folder of the file is
//! watched and not the file: that would go silent after the first swap.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How often the file is read without a sign that it has changed.
const REREAD_INTERVAL: Duration = Duration::from_secs(30);
/// The time between two readings that must be the same.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}: {cause}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The system's error.
    pub cause: io::Error,
}

/// A directory that cannot be watched.
#[derive(Debug, Error)]
#[error("cannot watch {}: {cause}", directory.display())]
struct WatchError {
    directory: PathBuf,
    cause: notify::Error,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<String, ReadError> {
    std::fs::read_to_string(path).map_err(|cause| ReadError {
        path: path.to_owned(),
        cause,
    })
}

/// Sends the file's text when it has become another than `known`, and why it cannot be read, until
/// `send` says that nobody listens any more.
pub async fn follow<S: Future<Output = bool>>(
    path: PathBuf,
    known: String,
    mut send: impl FnMut(Result<String, ReadError>) -> S,
) {
    let (changed, mut changes) = mpsc::channel(1);
    let watcher = watch(&path, changed.clone());
    if let Err(error) = &watcher {
        tracing::warn!(
            "{error}; it is read every {} s instead",
            REREAD_INTERVAL.as_secs()
        );
    }
    let mut known = Ok(known);
    loop {
        // Both a change and the end of the time are a reason to look.
        let _ = timeout(REREAD_INTERVAL, changes.recv()).await;
        let found = settled(&path).await;
        if text_or_kind(&found) != known.as_deref().map_err(|kind| *kind) {
            known = text_or_kind(&found).map(str::to_owned);
            if !send(found).await {
                return;
            }
        }
    }
}

/// The file once two readings of it are the same: an editor may be in the middle of writing it.
async fn settled(path: &Path) -> Result<String, ReadError> {
    let mut found = read(path);
    loop {
        sleep(SETTLE_TIME).await;
        let again = read(path);
        if text_or_kind(&again) == text_or_kind(&found) {
            return found;
        }
        found = again;
    }
}

/// The text, or the kind of failure: two failures of one kind are one to people.
fn text_or_kind(read: &Result<String, ReadError>) -> Result<&str, io::ErrorKind> {
    read.as_deref().map_err(|error| error.cause.kind())
}

fn watch(path: &Path, changed: mpsc::Sender<()>) -> Result<notify::RecommendedWatcher, WatchError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let start = || {
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reading is an access too. A change that finds another one waiting is seen
            // with it.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(on_event)?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    };
    start().map_err(|cause| WatchError {
        directory: folder.to_owned(),
        cause,
    })
}
