//! `csr-warden man`: manual pages, generated from the command-line definition.

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
    /// Directory to write to, one page for each command
    directory: Option<PathBuf>,
}

/// Runs `man`: prints one page, or writes the pages of all commands into a directory.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode> {
    // Otherwise each `help` subcommand would have a page.
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

/// Writes the pages of this command and of all its subcommands.
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

/// Renders a page. clap_mangen titles the section with exit codes and examples `EXTRA`; it
/// becomes `NOTES`.
fn page(man: &Man) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let text = String::from_utf8(page).map_err(std::io::Error::other)?;
    Ok(text.replace(".SH EXTRA\n", ".SH NOTES\n").into_bytes())
}
