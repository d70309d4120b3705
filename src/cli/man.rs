//! `csr-warden man`: manual pages, made from the definition of the command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use super::Cli;

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  csr-warden man | man -l -\n  \
    csr-warden man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// A directory: one page for each command is written there
    directory: Option<PathBuf>,
}

/// Writes the page, or all of them.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode> {
    // Else there would be a page for each command's help.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.directory {
        Some(directory) => write_all(&command, directory)
            .with_context(|| format!("cannot write pages to {}", directory.display()))?,
        None => std::io::stdout()
            .write_all(&page(&Man::new(command))?)
            .context("cannot write the page")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of this command, and those of all below it.
fn write_all(command: &Command, directory: &Path) -> std::io::Result<()> {
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        write_all(below, directory)?;
    }
    let man = Man::new(command.clone());
    std::fs::write(directory.join(man.get_filename()), page(&man)?)
}

/// Exit codes and examples stand in what follows the options, which the maker of pages calls EXTRA.
fn page(man: &Man) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let text = String::from_utf8(page).map_err(std::io::Error::other)?;
    Ok(text.replace(".SH EXTRA\n", ".SH NOTES\n").into_bytes())
}
