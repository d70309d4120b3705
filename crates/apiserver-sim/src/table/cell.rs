//! Columns and cells, shared by the tables of all kinds.

/// The name, and true for a column that only `-o wide` shows.
pub(super) type Column = (&'static str, bool);

/// Returns the first text, or the second if the first is empty.
pub(super) fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}
