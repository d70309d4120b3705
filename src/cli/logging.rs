//! Filter and text format of log messages.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::telemetry::printable::printable;

/// Libraries whose messages do not help an administrator.
const SILENT: [&str; 3] = ["kube", "hyper", "rustls"];

/// Filter for messages of this level and above, without those of [`SILENT`] libraries.
pub(super) fn messages(level: LevelFilter) -> Targets {
    let silent = SILENT.map(|library| (library, LevelFilter::OFF));
    Targets::new().with_default(level).with_targets(silent)
}

/// The styles of tracing-subscriber: reset, bold, dimmed, italic and its colors.
const STYLES: [&str; 9] = [
    "[0m", "[1m", "[2m", "[3m", "[31m", "[32m", "[33m", "[34m", "[35m",
];

/// Writer of messages in text. Each is one line, without characters that a terminal interprets but
/// for [`STYLES`]. tracing-subscriber writes each message at once.
pub(super) struct TextLines<W>(pub(super) W);

impl<W: io::Write> io::Write for TextLines<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(buffer);
        let message = text.strip_suffix('\n').unwrap_or(&text);
        let mut parts = message.split('\u{1b}');
        let mut line = printable(parts.next().unwrap_or_default()).into_owned();
        for part in parts {
            let is_style = STYLES.iter().any(|style| part.starts_with(style));
            line.push_str(if is_style { "\u{1b}" } else { "\\u{1b}" });
            line.push_str(&printable(part));
        }
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(buffer)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        for colors in [false, true] {
            let kept = Kept::default();
            let writer = kept.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || TextLines(writer.clone()))
                .with_ansi(colors)
                .finish()
                .with(messages(LevelFilter::INFO));
            let hostile = "a\n2026 INFO forged\u{1b}]0;x\u{7}\u{202e}";
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(field = hostile, shown = %hostile, "failed: {hostile}");
            });
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.contains("\u{1b}]"), "{text:?}");
            assert!(!text.contains(['\u{7}', '\u{202e}']), "{text:?}");
            assert_eq!(text.contains("\u{1b}["), colors, "{text:?}");
        }
    }
}
