//! Terminal colors, unless `NO_COLOR` is set (<https://no-color.org>).

use std::ffi::OsStr;
use std::io::IsTerminal;

use clap::builder::styling::{AnsiColor, Style};

/// Returns true if the stream is a terminal with colors, and the environment does not disable them.
pub(super) fn wanted(stream: &impl IsTerminal) -> bool {
    let variable = std::env::var_os;
    stream.is_terminal() && allowed(variable("NO_COLOR").as_deref(), variable("TERM").as_deref())
}

fn allowed(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term != Some(OsStr::new("dumb"))
}

/// Painter of words. Without colors, it leaves them unchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn on(stream: &impl IsTerminal) -> Paint {
        Paint(wanted(stream))
    }

    pub(super) fn color(self, text: &str, color: AnsiColor) -> String {
        self.with(text, color.on_default().bold())
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }

    fn with(self, text: &str, style: Style) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sets_no_color_gets_none() {
        let is = |no_color: Option<&str>, term: Option<&str>| {
            allowed(no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(is(None, Some("xterm")));
        assert!(is(Some(""), None));
        assert!(!is(Some("1"), Some("xterm")));
        assert!(!is(None, Some("dumb")));
    }
}
