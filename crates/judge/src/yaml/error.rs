//! Errors of YAML files, with the field and its location if they are known. Each message includes its
//! cause.

use std::fmt;

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use thiserror::Error;

use super::location::{Location, Step, locate};
use crate::api_version::{API_VERSION, FORMER_API_VERSION};

/// An error in a YAML file.
#[derive(Debug, Error)]
pub enum Error {
    /// The text is too long.
    #[error("expected at most {most} bytes, found {found}")]
    TooLong {
        /// The limit, in bytes.
        most: usize,
        /// The length, in bytes.
        found: usize,
    },
    /// The text has only blanks and comments.
    #[error("the file is empty")]
    Empty,
    /// The text is not YAML, not within the limits, or not one document.
    #[error("{}", sentence(.0))]
    Text(Box<serde_saphyr::Error>),
    /// The document is of another kind.
    #[error("{field}: expected {expected}, found {}", Found(.found.as_ref()))]
    Kind {
        /// `kind` or `apiVersion`.
        field: &'static str,
        /// The values that it may have.
        expected: String,
        /// The value that it has.
        found: Option<Value>,
    },
    /// The document has the `apiVersion` of a release before 0.1.0.
    #[error(
        "apiVersion: expected `{API_VERSION}`, found `{FORMER_API_VERSION}`, the name of the same \
         format before 0.1.0: write `apiVersion: {API_VERSION}` instead"
    )]
    FormerApiVersion,
    /// A value does not fit its field.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl From<serde_saphyr::Error> for Error {
    fn from(error: serde_saphyr::Error) -> Error {
        Error::Text(Box::new(error))
    }
}

/// A value that does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct FieldError {
    /// The path of the field, such as `spec.names.max`; `None` for the whole document.
    pub path: Option<String>,
    /// The location of the value, or of the key if the key is wrong.
    pub at: Option<Location>,
    /// `expected …, found …`.
    pub why: String,
    /// The end of the message: the text to write instead, or empty.
    pub remedy: String,
}

impl FieldError {
    /// The error about a value that a field must not have, without its location.
    pub(crate) fn new(path: impl Into<String>, expected: &str, found: &str) -> FieldError {
        FieldError {
            path: Some(path.into()),
            at: None,
            why: format!("expected {expected}, found {found}"),
            remedy: String::new(),
        }
    }

    /// The same error with the location of the field in this text, unless the text does not have it.
    pub(crate) fn located_in(self, text: &str) -> FieldError {
        let path = self.path.as_deref().unwrap_or_default();
        let at = locate(Step::parse(path), text).filter(|place| place.is_exact);
        FieldError {
            at: at.map(|place| place.value),
            ..self
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.why)?;
        if let Some(at) = self.at {
            write!(f, " at {at}")?;
        }
        f.write_str(&self.remedy)
    }
}

/// A value in an error message, in backticks.
pub(crate) fn quoted(value: impl fmt::Display) -> String {
    format!("`{value}`")
}

/// The value of a field that may be missing.
struct Found<'a>(Option<&'a Value>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(Value::String(found)) => write!(f, "`{found}`"),
            Some(found) => write!(f, "`{found}`"),
        }
    }
}

/// One message for a text that cannot be parsed, with the location.
fn sentence(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;

    let error = error.without_snippet();
    let place = error.location().map_or_else(String::new, |location| {
        let (line, column) = (location.line(), location.column());
        format!("at line {line}, column {column}")
    });
    let mut cause = error;
    while let Error::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    // The library's own messages are for programmers.
    #[allow(clippy::wildcard_enum_match_arm)]
    match cause {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{key}` is repeated {place}")
        }
        Error::MultipleDocuments { .. } => {
            format!("expected one document, found another {place}")
        }
        Error::MergeKeyNotAllowed { .. } => format!("expected no merge key, found `<<` {place}"),
        Error::NonFiniteFloat { value, .. } => {
            format!(
                "expected a finite number, found `{value}` {place}; quote it to make it a string"
            )
        }
        Error::Budget {
            breach: BudgetBreach::Depth { depth },
            ..
        } => format!(
            "expected at most {} levels, found more {place}",
            depth.saturating_sub(1)
        ),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
            format!("the text is too large, with all that its aliases repeat, {place}")
        }
        Error::Unexpected {
            expected: "string scalar",
            ..
        } => format!("expected a string as a key, found a list or a mapping {place}"),
        _ => error.to_string(),
    }
}
