//! Columns and cells, as the tables of all kinds share them.

/// Name and whether it is shown only with `-o wide`.
pub(super) type Column = (&'static str, bool);

/// The first that is not empty.
pub(super) fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}
