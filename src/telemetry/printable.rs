//! Escapes and limits for untrusted text, such as names and messages of objects, wherever a terminal or a text
//! log shows it. JSON escapes by itself.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes every character that a terminal does not show as itself: controls, line separators,
/// and what reorders or hides text.
///
/// The result is one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) {
            // Writing to a `String` cannot fail.
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// The text, or its beginning and `…` if it is longer than this many bytes.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(max);
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
}

/// Quotes untrusted text as one word of a shell, for commands that people copy.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// Returns true for a character that changes how other text is shown, or is not shown at all.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width, and marks of direction.
            | '\u{200b}'..='\u{200f}'
            // Line and paragraph separators, embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates of direction.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotations.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        assert_eq!(shell_word("csr/csr-1"), "csr/csr-1");
        assert_eq!(shell_word("$(reboot); #"), "'$(reboot); #'");
        assert_eq!(shell_word("a'b"), "'a'\\''b'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(cut("aéé", 4), "aé…");
    }

    #[test]
    fn only_what_a_terminal_would_not_show_is_escaped() {
        for plain in ["csr-x7k2p", "Müller \\ 'a' \"b\" — 東京", ""] {
            assert!(matches!(printable(plain), Cow::Borrowed(_)), "{plain}");
        }
        for (text, expected) in [
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}drow\u{2066}", "\\u{202e}drow\\u{2066}"),
            (
                "a\u{200b}b\u{feff}\u{2028}",
                "a\\u{200b}b\\u{feff}\\u{2028}",
            ),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
