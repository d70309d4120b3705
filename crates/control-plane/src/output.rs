//! The output of a child process, kept line by line. Tests can wait for a line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Notify;

/// Lines in the order of their arrival. Clones share them.
#[derive(Clone, Default)]
pub struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    grown: Notify,
}

impl Output {
    /// Reads `from` to its end on a thread of its own, and appends a copy of each line to `file`.
    pub fn read(&self, from: impl Read + Send + 'static, file: &Path) -> Result<()> {
        let mut copy = open_log(file)?;
        let output = self.clone();
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let mut from = BufReader::new(from);
                let mut line = Vec::new();
                // Bytes, not `lines()`: a line that is not UTF-8 must not end the loop.
                while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    let _ = copy.write_all(&line);
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    output.lock().push(text);
                    output.0.grown.notify_waiters();
                    line.clear();
                }
            })?;
        Ok(())
    }

    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Returns all lines so far that contain `text`.
    pub fn containing(&self, text: &str) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|l| l.contains(text))
            .cloned()
            .collect()
    }

    /// Returns the number of lines so far.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits for the first line, past or future, for which `found` returns a value. Returns `None`
    /// after `deadline`.
    pub async fn find<T>(
        &self,
        deadline: Duration,
        found: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        self.find_after(0, deadline, found).await
    }

    /// Waits as [`Output::find`] does, but skips the first `read` lines.
    pub async fn find_after<T>(
        &self,
        mut read: usize,
        deadline: Duration,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let search = async {
            loop {
                let grown = self.0.grown.notified();
                tokio::pin!(grown);
                // Registered before the check, so that no line is missed.
                grown.as_mut().enable();
                let fresh = self.lock().get(read..).unwrap_or_default().to_vec();
                read += fresh.len();
                if let Some(t) = fresh.iter().find_map(|line| found(line)) {
                    return t;
                }
                grown.await;
            }
        };
        tokio::time::timeout(deadline, search).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a log file for appending, so that a restarted process continues it.
pub fn open_log(file: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("log file `{}`", file.display()))
}

/// Returns the last lines of a log file.
pub fn tail(file: &Path, lines: usize) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}
