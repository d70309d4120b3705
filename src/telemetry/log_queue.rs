//! Queue of log lines and the thread that writes them, so that a slow reader of standard output or
//! standard error never blocks the event loop.
//!
//! Lines of both streams share one queue and keep their order. A bounded number of ordinary lines
//! waits; more are lost and counted. Required lines are the decisions that are written to the API
//! server. They are never lost: they have space of their own, and while it is used up no further
//! request is judged ([`LogQueue::has_room`]). Writes are slower then, and nothing blocks.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::Notify;
use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of ordinary lines that wait.
const MAX_ORDINARY_LINES: usize = 8192;
/// Maximum size of the ordinary lines that wait, in bytes.
const MAX_ORDINARY_BYTES: usize = 1024 * 1024;
/// Size of the waiting required lines, in bytes, from which on no request is judged.
const MAX_REQUIRED_BYTES: usize = 1024 * 1024;
/// Interval of messages about lost lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// A standard stream of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, for decisions.
    Stdout,
    /// Standard error, for messages.
    Stderr,
}

/// Treatment of a line while the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// The line is lost.
    Ordinary,
    /// The line waits.
    Required,
}

/// Reason for which a line was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The requestor has used up its budget of lines.
    Budget,
    /// The queue was full: the stream is not read fast enough.
    Queue,
    /// The stream could not be written to.
    Error,
}

impl Loss {
    /// All reasons.
    pub const ALL: [Loss; 3] = [Loss::Budget, Loss::Queue, Loss::Error];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Loss::Budget => "budget",
            Loss::Queue => "queue",
            Loss::Error => "error",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct LossLabel {
    reason: &'static str,
}

/// Numbers of lost lines by reason. Clones share them.
#[derive(Clone, Debug)]
pub struct LostLines(pub(super) Family<LossLabel, Counter>);

impl Default for LostLines {
    fn default() -> Self {
        let lost = LostLines(Family::default());
        for loss in Loss::ALL {
            lost.count(loss);
        }
        lost
    }
}

impl LostLines {
    fn counter(&self, loss: Loss) -> Counter {
        let reason = loss.as_str();
        self.0.get_or_create_owned(&LossLabel { reason })
    }

    /// Counts a lost line.
    pub fn record(&self, loss: Loss) {
        self.counter(loss).inc();
    }

    /// Number of lines lost for this reason.
    pub fn count(&self, loss: Loss) -> u64 {
        self.counter(loss).get()
    }

    fn total(&self) -> u64 {
        Loss::ALL.iter().map(|loss| self.count(*loss)).sum()
    }
}

/// Queue of log lines. Clones share it.
#[derive(Clone, Debug)]
pub struct LogQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// A line was added, or written.
    changed: Condvar,
    /// A required line was written.
    room: Notify,
    lost: LostLines,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    /// Number and size of ordinary lines, with the one that is being written.
    ordinary_lines: usize,
    ordinary_bytes: usize,
    /// Size of required lines, with the one that is being written.
    required_bytes: usize,
    writing: bool,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    stream: Stream,
    importance: Importance,
}

impl LogQueue {
    /// Starts the thread that writes to the standard streams of the process.
    pub fn start() -> io::Result<LogQueue> {
        LogQueue::start_with(io::stdout(), io::stderr())
    }

    fn start_with(
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> io::Result<LogQueue> {
        let queue = LogQueue(Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            room: Notify::new(),
            lost: LostLines::default(),
        }));
        let shared = queue.0.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || shared.write_lines(stdout, stderr))?;
        Ok(queue)
    }

    /// Adds a line, which must end with a newline. Never blocks.
    pub fn push(&self, stream: Stream, importance: Importance, text: Vec<u8>) {
        let mut waiting = self.0.lock();
        match importance {
            Importance::Ordinary => {
                let bytes = waiting.ordinary_bytes.saturating_add(text.len());
                if waiting.ordinary_lines >= MAX_ORDINARY_LINES || bytes > MAX_ORDINARY_BYTES {
                    drop(waiting);
                    self.0.lost.record(Loss::Queue);
                    return;
                }
                waiting.ordinary_lines += 1;
                waiting.ordinary_bytes = bytes;
            }
            Importance::Required => {
                waiting.required_bytes = waiting.required_bytes.saturating_add(text.len());
            }
        }
        waiting.lines.push_back(Line {
            text,
            stream,
            importance,
        });
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Returns true while another required line may be added.
    pub fn has_room(&self) -> bool {
        self.0.lock().required_bytes < MAX_REQUIRED_BYTES
    }

    /// Waits until another required line may be added.
    pub async fn room(&self) {
        loop {
            // Subscribed before the check, so that no line is missed.
            let written = self.0.room.notified();
            if self.has_room() {
                return;
            }
            written.await;
        }
    }

    /// Numbers of lost lines.
    pub fn lost(&self) -> &LostLines {
        &self.0.lost
    }

    /// Blocks until all lines are written, or until the deadline. Returns true if all are written.
    pub fn flush(&self, deadline: Duration) -> bool {
        let waiting = self.0.lock();
        let unwritten = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(waiting, deadline, unwritten);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lines(&self, mut stdout: impl Write, mut stderr: impl Write) {
        let mut reported = (self.lost.total(), None);
        loop {
            if let Some(line) = self.next() {
                let written = match line.stream {
                    Stream::Stdout => stdout.write_all(&line.text).and_then(|()| stdout.flush()),
                    Stream::Stderr => stderr.write_all(&line.text).and_then(|()| stderr.flush()),
                };
                if written.is_err() {
                    self.lost.record(Loss::Error);
                }
                self.line_ended(&line);
            }
            self.report_lost(&mut reported);
        }
    }

    /// Waits for a line, for some time.
    fn next(&self) -> Option<Line> {
        let empty = |waiting: &mut Waiting| waiting.lines.is_empty();
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), REPORT_INTERVAL, empty);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        let line = waiting.lines.pop_front();
        waiting.writing = line.is_some();
        line
    }

    fn line_ended(&self, line: &Line) {
        let mut waiting = self.lock();
        waiting.writing = false;
        let bytes = line.text.len();
        match line.importance {
            Importance::Ordinary => {
                waiting.ordinary_lines = waiting.ordinary_lines.saturating_sub(1);
                waiting.ordinary_bytes = waiting.ordinary_bytes.saturating_sub(bytes);
            }
            Importance::Required => {
                waiting.required_bytes = waiting.required_bytes.saturating_sub(bytes);
                self.room.notify_waiters();
            }
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Logs the number of lost lines if it has grown, at most once in an interval. `reported` is the
    /// number at the last message, and its time.
    fn report_lost(&self, reported: &mut (u64, Option<Instant>)) {
        let total = self.lost.total();
        let is_early = |last: Instant| last.elapsed() < REPORT_INTERVAL;
        if total == reported.0 || reported.1.is_some_and(is_early) {
            return;
        }
        *reported = (total, Some(Instant::now()));
        tracing::warn!(
            budget = self.lost.count(Loss::Budget),
            queue = self.lost.count(Loss::Queue),
            error = self.lost.count(Loss::Error),
            "log lines were lost; the numbers count from the start of the process"
        );
    }
}

/// Writer of messages: each call of `write` is a line.
impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = MessageWriter;

    fn make_writer(&'a self) -> MessageWriter {
        MessageWriter(self.clone())
    }
}

/// Puts messages into the queue, for standard error.
#[derive(Debug)]
pub struct MessageWriter(LogQueue);

impl Write for MessageWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .push(Stream::Stderr, Importance::Ordinary, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A stream that is read line by line: each write waits for a token.
    struct SlowStream {
        tokens: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for SlowStream {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.tokens.recv().map_err(io::Error::other)?;
            self.written.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (LogQueue, Sender<()>, Receiver<Vec<u8>>) {
        let (token, tokens) = channel();
        let (written, lines) = channel();
        let stdout = SlowStream { tokens, written };
        (
            LogQueue::start_with(stdout, io::sink()).unwrap(),
            token,
            lines,
        )
    }

    #[test]
    fn an_unread_stream_loses_ordinary_lines_and_no_required_one() {
        let (queue, token, lines) = slow();
        let line = |text: u8| vec![text; 1024];
        let many = MAX_ORDINARY_BYTES / 1024;
        for _ in 0..many + 10 {
            queue.push(Stream::Stdout, Importance::Ordinary, line(b'o'));
        }
        assert_eq!(queue.lost().count(Loss::Queue), 10);
        let mut required = 0;
        while queue.has_room() {
            queue.push(Stream::Stdout, Importance::Required, line(b'r'));
            required += 1;
        }
        assert_eq!(required, MAX_REQUIRED_BYTES / 1024);
        assert!(!queue.flush(Duration::ZERO));
        for _ in 0..many + required {
            token.send(()).unwrap();
        }
        assert!(queue.flush(SOON) && queue.has_room());
        let lines: Vec<Vec<u8>> = lines.try_iter().collect();
        let begin = |text: u8| {
            lines
                .iter()
                .filter(|line| line.starts_with(&[text]))
                .count()
        };
        assert_eq!((begin(b'o'), begin(b'r')), (many, required));
        assert_eq!(queue.lost().count(Loss::Queue), 10);
    }

    #[test]
    fn the_number_of_short_lines_is_bounded() {
        let (queue, _token, _lines) = slow();
        for _ in 0..MAX_ORDINARY_LINES + 3 {
            queue.push(Stream::Stdout, Importance::Ordinary, b"\n".to_vec());
        }
        assert_eq!(queue.lost().count(Loss::Queue), 3);
    }

    #[tokio::test]
    async fn room_returns_when_a_required_line_was_written() {
        let (queue, token, _lines) = slow();
        queue.room().await;
        let large = vec![b'r'; MAX_REQUIRED_BYTES];
        queue.push(Stream::Stdout, Importance::Required, large);
        let early = tokio::time::timeout(Duration::from_millis(10), queue.room()).await;
        assert!(early.is_err());
        token.send(()).unwrap();
        tokio::time::timeout(SOON, queue.room()).await.unwrap();
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        let (queue, token, _) = slow();
        drop(token);
        queue.push(Stream::Stdout, Importance::Required, b"lost\n".to_vec());
        assert!(queue.flush(SOON));
        assert_eq!(queue.lost().count(Loss::Error), 1);
    }
}
