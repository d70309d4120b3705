//! What the person at the terminal sees: lines that stay, and below them a few that are drawn
//! anew in place. Where there is no terminal, only the lines that stay.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::super::WIDTH;

/// Where the text begins that follows the time.
const INDENT: &str = "           ";

/// How a word stands out, where colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it should be.
    Good,
    /// As it must never be.
    Bad,
    /// Who or what it is about.
    Bold,
    /// Beside the point.
    Dim,
}

/// The terminal. Copies are the same one.
#[derive(Clone)]
pub(super) struct Screen {
    is_terminal: bool,
    colours: bool,
    begun: Instant,
    /// How many lines of the part that is drawn anew are there now, and what they are.
    drawn: Arc<Mutex<Vec<String>>>,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let smart = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let is_terminal = std::io::stdout().is_terminal() && smart;
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            is_terminal,
            colours: is_terminal && wanted,
            begun: Instant::now(),
            drawn: Arc::default(),
        }
    }

    /// Whether anything is drawn anew.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The text in this style. Apply it to whole words after lines have been broken: it has bytes
    /// that take no place.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        if !self.colours {
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

    /// Text that stays, as it is.
    pub(super) fn line(&self, text: &str) {
        self.write(text, None);
    }

    /// Something that has just happened, and what there is to say of it.
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
        // After it has been broken into lines: a style has bytes that take no place.
        let shown = match shown.split_once(&time) {
            Some(("", rest)) => self.styled(Style::Dim, &time) + rest,
            _ => shown,
        };
        self.write(&self.emphasized(shown), None);
    }

    /// What came of a forgery stands out.
    fn emphasized(&self, text: String) -> String {
        if !self.colours {
            return text;
        }
        text.replacen(
            " denied in ",
            &format!(" {} in ", self.styled(Style::Good, "denied")),
            1,
        )
        .replacen("APPROVED", &self.styled(Style::Bad, "APPROVED"), 1)
    }

    /// Draws these lines below all that stays, in the place of those before.
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
            // Up to the first of them, and all below is gone.
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
        // Nobody can be told when nobody reads.
        let _ = stdout.write_all(out.as_bytes());
        let _ = stdout.flush();
    }
}

/// For messages of the daemon, which come one at a time.
impl Write for Screen {
    fn write(&mut self, message: &[u8]) -> std::io::Result<usize> {
        self.line(String::from_utf8_lossy(message).trim_end());
        Ok(message.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Text in lines that fit, with names and addresses whole.
pub(super) fn wrap(text: &str, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options)
}
