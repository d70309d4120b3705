//! A file that is read again when it changes.
//!
//! Kubernetes mounts a ConfigMap as a link to a folder that it swaps, so the folder of the file is
//! watched and not the file: that would go silent after the first swap.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How often the file is read without a sign that it has changed.
const READ_AGAIN: Duration = Duration::from_secs(30);
/// The time between two readings that must be the same.
const SETTLES: Duration = Duration::from_millis(50);

/// Reads the file. The error says what failed.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Sends the file's text when it has become another than `known`, and why it cannot be read, until
/// `send` says that nobody listens any more.
pub async fn follow<S: Future<Output = bool>>(
    path: PathBuf,
    known: String,
    mut send: impl FnMut(Result<String, String>) -> S,
) {
    let (changed, mut changes) = mpsc::channel(1);
    let watcher = watch(&path, changed.clone());
    if let Err(why) = &watcher {
        tracing::warn!("{why}; it is read every {} s instead", READ_AGAIN.as_secs());
    }
    let mut known = Ok(known);
    loop {
        // Both a change and the end of the time are a reason to look.
        let _ = timeout(READ_AGAIN, changes.recv()).await;
        let found = settled(&path).await;
        if found != known {
            known.clone_from(&found);
            if !send(found).await {
                return;
            }
        }
    }
}

/// The file once two readings of it are the same: an editor may be in the middle of writing it.
async fn settled(path: &Path) -> Result<String, String> {
    let mut found = read(path);
    loop {
        sleep(SETTLES).await;
        let again = read(path);
        if again == found {
            return found;
        }
        found = again;
    }
}

fn watch(path: &Path, changed: mpsc::Sender<()>) -> Result<notify::RecommendedWatcher, String> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let start = || {
        let tell = move |event: notify::Result<notify::Event>| {
            // Our own reading is an access too. A change that finds another one waiting is seen
            // with it.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell)?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    };
    start().map_err(|error: notify::Error| format!("cannot watch {}: {error}", folder.display()))
}
