//! The lines that a child process writes, kept while they come, with a way to wait for one.

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
    /// Reads `from` to its end on a thread of its own; a copy of each line goes to the end of `file`.
    pub fn read(&self, from: impl Read + Send + 'static, file: &Path) -> Result<()> {
        let mut copy = open_log(file)?;
        let output = self.clone();
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let mut from = BufReader::new(from);
                let mut line = Vec::new();
                // Bytes, not `lines()`: a line that is not UTF-8 must not end the reading.
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

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// All lines so far that contain `text`.
    pub fn containing(&self, text: &str) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|l| l.contains(text))
            .cloned()
            .collect()
    }

    /// How many lines there are so far.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The first line, past or to come, for which `found` gives something; none after `deadline`.
    pub async fn find<T>(
        &self,
        deadline: Duration,
        found: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        self.find_after(0, deadline, found).await
    }

    /// The same, but the first `read` lines are not looked at.
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
                // Registered before looking, so that no line falls between.
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

/// The last lines of a log file.
pub fn tail(file: &Path, lines: usize) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}
