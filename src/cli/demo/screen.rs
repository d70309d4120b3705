//! Terminal output: permanent lines, and below them a few status lines that are redrawn in place.
//! Without a terminal only the permanent lines are written.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::super::WIDTH;

/// Indentation of text below the time of an event.
const INDENT: &str = "           ";

/// Emphasis of a word, where colors are enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Expected result.
    Good,
    /// Result that must never occur.
    Bad,
    /// Subject of a line.
    Bold,
    /// Secondary information.
    Dim,
}

/// Handle to the terminal. Clones share it.
#[derive(Clone)]
pub(super) struct Screen {
    is_terminal: bool,
    colors: bool,
    begun: Instant,
    /// Status lines that are on the terminal now.
    drawn: Arc<Mutex<Vec<String>>>,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let smart = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let is_terminal = std::io::stdout().is_terminal() && smart;
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            is_terminal,
            colors: is_terminal && wanted,
            begun: Instant::now(),
            drawn: Arc::default(),
        }
    }

    /// Returns true if status lines are redrawn, which needs a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns the text in this style. Apply it to whole words after wrapping: its escape codes
    /// have no width.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        if !self.colors {
            return text.to_owned();
        }
        let code = match style {
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Bold => "1",
            Style::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes permanent text without changes.
    pub(super) fn line(&self, text: &str) {
        self.write(text, None);
    }

    /// Writes a permanent event: its time, its first part, and details below.
    pub(super) fn event(&self, parts: &[&str]) {
        let time = format!("{:>7.2} s  ", self.begun.elapsed().as_secs_f64());
        let deeper = format!("{INDENT}  ");
        let mut lines = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let (first, rest) = match index {
                0 => (time.as_str(), INDENT),
                _ => (deeper.as_str(), deeper.as_str()),
            };
            lines.push(wrap(part, first, rest));
        }
        let shown = lines.join("\n");
        // Applied after wrapping: the escape codes of a style have no width.
        let shown = match shown.split_once(&time) {
            Some(("", rest)) => self.styled(Style::Dim, &time) + rest,
            _ => shown,
        };
        self.write(&self.emphasized(shown), None);
    }

    /// Emphasizes the outcome of a forgery.
    fn emphasized(&self, text: String) -> String {
        if !self.colors {
            return text;
        }
        text.replacen(
            " denied in ",
            &format!(" {} in ", self.styled(Style::Good, "denied")),
            1,
        )
        .replacen("APPROVED", &self.styled(Style::Bad, "APPROVED"), 1)
    }

    /// Draws the status lines below the permanent ones, instead of the previous status lines.
    pub(super) fn draw(&self, lines: Vec<String>) {
        if self.is_terminal {
            self.write("", Some(lines));
        }
    }

    fn write(&self, text: &str, draw: Option<Vec<String>>) {
        let Ok(mut drawn) = self.drawn.lock() else {
            return;
        };
        let mut out = String::new();
        if !drawn.is_empty() {
            // Move up to the first status line, and clear everything below.
            out.push_str(&format!("\x1b[{}A\r\x1b[J", drawn.len()));
        }
        if draw.is_none() {
            out.push_str(text);
            out.push('\n');
        }
        if let Some(lines) = draw {
            *drawn = lines;
        }
        for line in drawn.iter() {
            out.push_str(line);
            out.push('\n');
        }
        let mut stdout = std::io::stdout().lock();
        // A write error has no reader to report it to.
        let _ = stdout.write_all(out.as_bytes());
        let _ = stdout.flush();
    }
}

/// Log writer for the daemon, which writes one message at a time.
impl Write for Screen {
    fn write(&mut self, message: &[u8]) -> std::io::Result<usize> {
        self.line(String::from_utf8_lossy(message).trim_end());
        Ok(message.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Wraps text to the width of a terminal, without breaking names and addresses.
pub(super) fn wrap(text: &str, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options)
}
