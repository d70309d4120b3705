//! `csr-warden completion`: the script with which a shell completes commands and flags.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::engine::complete;

use super::render::print;
use super::{Cli, NAME};

/// First argument with which the script `kubectl_complete-csr_warden` asks for completions, as in cobra.
const PLUGIN_ARGUMENT: &str = "__complete";
/// cobra's directives after the completions: no names of files, and no space after one.
const NO_FILES: u8 = 4;
const NO_SPACE: u8 = 2;

/// Flags of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(csr-warden completion bash)\n  \
    csr-warden completion zsh >\"${fpath[1]}/_csr-warden\"\n  \
    csr-warden completion fish >~/.config/fish/completions/csr-warden.fish")]
pub(super) struct CompletionArgs {
    /// Name of the shell
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

/// Arguments of the plugin that kubectl completes; `None` for any other call.
pub(super) fn plugin_arguments() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    (first == PLUGIN_ARGUMENT).then(|| arguments.collect())
}

/// Prints the completions of the last argument as kubectl reads them: a line each, with its description after a
/// tab, and the directive of cobra.
pub(super) fn complete_for_kubectl(mut arguments: Vec<OsString>) -> Result<ExitCode> {
    if arguments.is_empty() {
        arguments.push(OsString::new());
    }
    let last = arguments.len();
    arguments.insert(0, NAME.into());
    let directory = std::env::current_dir().ok();
    let found = complete(&mut Cli::command(), arguments, last, directory.as_deref());
    let mut directive = NO_FILES;
    let mut text = String::new();
    for candidate in found.context("cannot complete")? {
        let value = candidate.get_value().to_string_lossy();
        if candidate.is_hide_set() || value.contains('\n') {
            continue;
        }
        if value.ends_with('/') {
            directive |= NO_SPACE;
        }
        text.push_str(&value);
        let help = candidate.get_help().map(ToString::to_string);
        if let Some(line) = help.as_deref().and_then(|help| help.lines().next()) {
            text.push('\t');
            text.push_str(line);
        }
        text.push('\n');
    }
    print(&format!("{text}:{directive}\n"))?;
    Ok(ExitCode::SUCCESS)
}
