//! Terminal output, wrapped at 80 columns where possible.

use std::io::Write as _;
use std::time::Instant;

const WIDTH: usize = 80;
/// The indentation of text after the time.
const INDENT: &str = "            ";

/// The terminal output with its start time. Copies share both.
#[derive(Clone, Copy)]
pub struct Screen {
    begun: Instant,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// Prints a line as it is.
    pub fn line(self, text: &str) {
        // There is no reader to report an error to.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Prints an event with the time.
    pub fn event(self, text: &str) {
        let first = format!("{:>8.3} s  ", self.begun.elapsed().as_secs_f64());
        self.line(&wrap(text, &first, INDENT));
    }

    /// Prints an event with the time, followed by details.
    pub fn event_with(self, text: &str, details: &[String]) {
        let first = format!("{:>8.3} s  ", self.begun.elapsed().as_secs_f64());
        let mut lines = vec![wrap(text, &first, INDENT)];
        let deeper = format!("{INDENT}  ");
        lines.extend(details.iter().map(|detail| wrap(detail, &deeper, &deeper)));
        self.line(&lines.join("\n"));
    }
}

fn wrap(text: &str, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest);
    textwrap::fill(text, options)
}
