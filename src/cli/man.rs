//! `csr-warden man`: manual pages, made from the definition of the command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory as _};
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
    match &args.directory {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .with_context(|| format!("cannot write pages to {}", directory.display()))?,
        None => {
            command.build();
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            std::io::stdout()
                .write_all(&page)
                .context("cannot write the page")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
