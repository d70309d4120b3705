//! What the person at the terminal sees, at most 80 columns wide where words allow it.

use std::io::Write as _;
use std::time::Instant;

const WIDTH: usize = 80;
/// Where the text begins that follows the time.
const INDENT: &str = "            ";

/// The terminal, with the time at which the story began. Copies share both.
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

    /// One line as it is.
    pub fn line(self, text: &str) {
        // Nobody can be told when nobody reads.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Something that has just happened.
    pub fn event(self, text: &str) {
        let first = format!("{:>8.3} s  ", self.begun.elapsed().as_secs_f64());
        self.line(&wrap(text, &first, INDENT));
    }

    /// Something that has just happened, and what there is to say of it, as one piece.
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
