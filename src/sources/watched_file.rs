//! A file that is re-read when it changes.
//!
//! The file's directory is watched, not the file: Kubernetes mounts a ConfigMap through a symbolic
//! link that it replaces. A watch on the file would be silent after the first replacement.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Interval at which the file is read without a notification.
pub(super) const REREAD_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two reads that must return the same content.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(50);

/// A file that cannot be read.
#[derive(Debug, Error)]
#[error("cannot read {}: {cause}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's error.
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

/// Follows a file until `send` returns false. Sends its text when it differs from `known`, and the
/// error when it cannot be read.
pub async fn follow<S: Future<Output = bool>>(
    path: PathBuf,
    known: String,
    mut send: impl FnMut(Result<String, ReadError>) -> S,
) {
    let (changed, mut changes) = mpsc::channel(1);
    let _watcher = start_watch(&path, changed.clone());
    let mut known = Ok(known);
    loop {
        // Both a notification and the timeout lead to a read.
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

/// Reads the file until two reads return the same: an editor may be writing it.
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

/// The text, or the kind of the error. Two errors of one kind are reported once.
fn text_or_kind(read: &Result<String, ReadError>) -> Result<&str, io::ErrorKind> {
    read.as_deref().map_err(|error| error.cause.kind())
}

/// Sends a notification after each change in the file's directory, until the watcher is dropped.
/// Without one the file is read at intervals, which is logged.
pub(super) fn start_watch(
    path: &Path,
    changed: mpsc::Sender<()>,
) -> Option<notify::RecommendedWatcher> {
    watch(path, changed)
        .inspect_err(|error| {
            tracing::warn!(
                "{error}; it is read every {} s instead",
                REREAD_INTERVAL.as_secs()
            );
        })
        .ok()
}

fn watch(path: &Path, changed: mpsc::Sender<()>) -> Result<notify::RecommendedWatcher, WatchError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let start = || {
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reads are access events. A notification that finds another one queued is
            // handled with it.
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
