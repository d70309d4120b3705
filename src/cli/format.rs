//! How an answer is written: for people, or for programs.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::render::{Whole, whole};

/// The forms of an answer that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextFormat {
    Text,
    Json,
    Yaml,
}

/// The forms of an answer that is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    Table,
    Wide,
    Json,
    Yaml,
}

impl TextFormat {
    /// The answer in this form.
    pub(super) fn write(
        self,
        answer: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<String> {
        match self {
            TextFormat::Text => Ok(text()),
            TextFormat::Json => whole(answer, Whole::Json),
            TextFormat::Yaml => whole(answer, Whole::Yaml),
        }
    }
}

impl TableFormat {
    /// The answer in this form; the table is asked whether it may be wide.
    pub(super) fn write(
        self,
        answer: &impl Serialize,
        table: impl FnOnce(bool) -> String,
    ) -> Result<String> {
        match self {
            TableFormat::Table => Ok(table(false)),
            TableFormat::Wide => Ok(table(true)),
            TableFormat::Json => whole(answer, Whole::Json),
            TableFormat::Yaml => whole(answer, Whole::Yaml),
        }
    }
}
