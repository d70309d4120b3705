//! `csr-warden completion`: the script with which a shell completes commands and flags.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, NAME};

/// Flags of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(csr-warden completion bash)\n  \
    csr-warden completion zsh >\"${fpath[1]}/_csr-warden\"\n  \
    csr-warden completion fish >~/.config/fish/completions/csr-warden.fish")]
pub(super) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

/// Runs `completion`: prints the script.
pub(super) fn completion(args: &CompletionArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let script = with_hyphens_fixed(String::from_utf8_lossy(&script).into_owned());
    std::io::stdout()
        .write_all(script.as_bytes())
        .context("cannot write the script")?;
    Ok(ExitCode::SUCCESS)
}

/// Fixes the bash script of clap_complete 4.6.11. It spells a program name with a hyphen in two
/// ways, so that only top-level commands are completed.
fn with_hyphens_fixed(script: String) -> String {
    script.replace("csr__subcmd__warden", "csr__warden")
}
