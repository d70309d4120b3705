//! Output formats, for people and for programs.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::render::{Whole, whole};

/// Formats of output whose default is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextFormat {
    Text,
    Json,
    Yaml,
}

/// Formats of output whose default is text with a table in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    Text,
    Wide,
    Json,
    Yaml,
}

/// Formats of output whose default is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    Table,
    Wide,
    Json,
    Yaml,
}

impl TextFormat {
    /// Renders the output in this format.
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

impl ReportFormat {
    /// Renders the output in this format. `text` is called with true for the wide table.
    pub(super) fn write(
        self,
        answer: &impl Serialize,
        text: impl FnOnce(bool) -> String,
    ) -> Result<String> {
        match self {
            ReportFormat::Text => Ok(text(false)),
            ReportFormat::Wide => Ok(text(true)),
            ReportFormat::Json => whole(answer, Whole::Json),
            ReportFormat::Yaml => whole(answer, Whole::Yaml),
        }
    }
}

impl TableFormat {
    /// Renders the output in this format. `table` is called with true for the wide table.
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
