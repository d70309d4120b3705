//! The output of a child process, kept line by line. Tests can wait for a line, and read slowly.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Notify;

/// Lines in the order of their arrival. Clones share them.
#[derive(Clone, Default)]
pub struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    /// A line was added, or a stream has ended.
    grown: Notify,
    streams: Mutex<Streams>,
    pace_changed: Condvar,
}

#[derive(Default)]
struct Streams {
    /// The number of streams that have not ended.
    open: usize,
    pace: Pace,
}

/// The speed at which the streams of an output are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they are written.
    #[default]
    Unlimited,
    /// At most this number of bytes in a second.
    BytesPerSecond(u32),
    /// Not at all: once the pipe is full, the process blocks when it writes.
    Stopped,
}

impl Output {
    /// Reads `from` to its end on a thread of its own, and appends a copy of each line to `file`.
    pub fn read(&self, from: impl Read + Send + 'static, file: &Path) -> Result<()> {
        let mut copy = open_log(file)?;
        let output = self.clone();
        lock(&self.0.streams).open += 1;
        std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let paced = output.clone();
                let mut from = BufReader::new(Paced(from, paced));
                let mut line = Vec::new();
                // Bytes, not `lines()`: a line that is not UTF-8 must not end the loop.
                while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    let _ = copy.write_all(&line);
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    lock(&output.0.lines).push(text);
                    output.0.grown.notify_waiters();
                    line.clear();
                }
                lock(&output.0.streams).open -= 1;
                output.0.grown.notify_waiters();
            })?;
        Ok(())
    }

    /// Changes the speed of reading.
    pub fn set_pace(&self, pace: Pace) {
        lock(&self.0.streams).pace = pace;
        self.0.pace_changed.notify_all();
    }

    /// Blocks while reading is stopped. Returns the speed of reading.
    fn wait_to_read(&self) -> Pace {
        let is_stopped = |streams: &mut Streams| streams.pace == Pace::Stopped;
        let streams = lock(&self.0.streams);
        let streams = self.0.pace_changed.wait_while(streams, is_stopped);
        streams.unwrap_or_else(PoisonError::into_inner).pace
    }

    /// Waits until all streams have ended, and returns all lines.
    pub async fn ended(&self, deadline: Duration) -> Result<Vec<String>> {
        let end = async {
            loop {
                let grown = self.0.grown.notified();
                tokio::pin!(grown);
                // Registered before the check, so that no end is missed.
                grown.as_mut().enable();
                if lock(&self.0.streams).open == 0 {
                    return;
                }
                grown.await;
            }
        };
        let waited = tokio::time::timeout(deadline, end).await;
        waited.with_context(|| format!("the output has not ended after {deadline:?}"))?;
        Ok(self.lines())
    }

    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.0.lines).clone()
    }

    /// Returns all lines so far that contain `text`.
    pub fn containing(&self, text: &str) -> Vec<String> {
        lock(&self.0.lines)
            .iter()
            .filter(|l| l.contains(text))
            .cloned()
            .collect()
    }

    /// Returns the number of lines so far.
    pub fn count(&self) -> usize {
        lock(&self.0.lines).len()
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
                let fresh = lock(&self.0.lines).get(read..).unwrap_or_default().to_vec();
                read += fresh.len();
                if let Some(t) = fresh.iter().find_map(|line| found(line)) {
                    return t;
                }
                grown.await;
            }
        };
        tokio::time::timeout(deadline, search).await.ok()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream that is read at the pace of its output.
struct Paced<R>(R, Output);

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pace = self.1.wait_to_read();
        let count = self.0.read(buffer)?;
        if let Pace::BytesPerSecond(most) = pace {
            let bytes = u32::try_from(count).unwrap_or(u32::MAX);
            std::thread::sleep(Duration::from_secs(1) * bytes / most);
        }
        Ok(count)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn all_lines_are_read_to_the_end_at_any_pace() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::default();
        output.set_pace(Pace::Stopped);
        let (from, mut to) = io::pipe().unwrap();
        output.read(from, &dir.path().join("log")).unwrap();
        to.write_all(b"one\ntwo\n").unwrap();
        drop(to);
        assert!(output.ended(Duration::ZERO).await.is_err());
        assert_eq!(output.count(), 0);
        output.set_pace(Pace::BytesPerSecond(1024));
        assert_eq!(output.ended(SOON).await.unwrap(), ["one", "two"]);
    }
}
