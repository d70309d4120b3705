//! The command line: one file for each subcommand.

mod approve;
mod audit;
#[cfg(feature = "lab")]
mod bench;
mod check;
mod cluster_args;
mod color;
mod comparison;
mod completion;
mod contexts;
pub(crate) mod daemon;
#[cfg(feature = "lab")]
mod demo;
mod doctor;
mod evidence_builder;
mod explain;
mod format;
mod judging_args;
mod live;
mod logging;
mod man;
mod node_selection;
mod offline;
mod output_end;
mod policy;
mod render;
mod request_name;
mod run;
mod schemas;
mod serving_args;
mod snapshot;
mod status;
mod table;
mod version;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::telemetry::printable::printable;
use crate::version::LINE;
pub use schemas::{schemas, schemas_of_files};

/// Output width, in columns, that every terminal has.
const WIDTH: usize = 80;
/// The program's name.
const NAME: &str = "csr-warden";
/// File name as a kubectl plugin, and its command. kubectl reads `_` in the file name as `-`.
const PLUGIN: (&str, &str) = ("kubectl-csr_warden", "kubectl csr-warden");

/// Approves kubelet serving certificates on proof, and denies forged requests.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version = LINE,
    arg_required_else_help = true,
    max_term_width = 80
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: watch a cluster and judge its kubelets' requests as they arrive
    Run(Box<run::RunArgs>),
    /// Judge requests from files, without a cluster
    Check(check::CheckArgs),
    /// Explain the verdict on a request in a cluster, and what would change it
    Explain(explain::ExplainArgs),
    /// List nodes and their requests, those that need attention first
    Status(status::StatusArgs),
    /// Approve pending requests that are proven, once
    Approve(approve::ApproveArgs),
    /// Re-evaluate certificates that were already approved
    Audit(audit::AuditArgs),
    /// Demonstrate csr-warden on a cluster in this process, with kubelets and attackers
    #[cfg(feature = "lab")]
    Demo(demo::DemoArgs),
    /// Measure the judge alone, or approval end to end compared with a client that approves everything
    #[cfg(feature = "lab")]
    Bench(bench::BenchArgs),
    /// Print shipped policies and schemas, and validate policies and inventories
    Policy(policy::PolicyArgs),
    /// Check whether kubelet TLS can be verified in a cluster, and how to fix it
    Doctor(doctor::DoctorArgs),
    /// Print the versions of this program, its policies and the API server
    Version(version::VersionArgs),
    /// Print the completion script of a shell
    Completion(completion::CompletionArgs),
    /// Print the manual page, or write the pages of all commands to a directory
    Man(man::ManArgs),
}

/// Command-line definition.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and runs the command. An error is reported in one sentence.
pub fn main() -> ExitCode {
    if let Some(arguments) = completion::plugin_arguments() {
        let completed = completion::complete_for_kubectl(arguments);
        return completed.unwrap_or_else(|error| complain(&error));
    }
    let cli = parse();
    let result = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Status(args) => status::status(&args),
        Command::Approve(args) => approve::approve(&args),
        Command::Audit(args) => audit::audit(&args),
        #[cfg(feature = "lab")]
        Command::Demo(args) => demo::demo(&args),
        #[cfg(feature = "lab")]
        Command::Bench(args) => bench::bench(&args),
        Command::Policy(args) => policy::policy(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Version(args) => version::version(&args),
        Command::Completion(args) => completion::completion(&args),
        Command::Man(args) => man::man(&args),
    };
    result.unwrap_or_else(|error| complain(&error))
}

/// Reports an error on standard error. Returns its exit code, 2.
fn complain(error: &anyhow::Error) -> ExitCode {
    let for_person = std::io::stderr().is_terminal();
    let line = told(&format!("csr-warden: {error:#}"), for_person);
    // If the write fails, the exit code still reports the error.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    ExitCode::from(2)
}

/// Parses the command line. Help shows the name by which the program was called.
fn parse() -> Cli {
    let called = std::env::args_os().next();
    // Help shows the names of environment variables, not their values.
    let mut command =
        Cli::command().mut_subcommands(|one| one.mut_args(|arg| arg.hide_env_values(true)));
    if called.is_some_and(|path| Path::new(&path).file_name() == Some(PLUGIN.0.as_ref())) {
        command = command.bin_name(PLUGIN.1);
    }
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// Formats an error: one line for programs, wrapped for a person. Paths and names are not broken.
/// Untrusted text in it is escaped.
fn told(line: &str, for_person: bool) -> String {
    let line = &printable(line);
    if !for_person {
        return format!("{line}\n");
    }
    let options = textwrap::Options::new(WIDTH)
        .subsequent_indent("  ")
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(line, options) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fit_a_terminal() {
        let path = "/a-rather-long-directory/with-a-file-in-it/that-is-a-policy.yaml";
        let line = format!(
            "csr-warden: policy {path}: spec.request.maxAge: expected 1m to 15m, found `1h`"
        );
        assert_eq!(told(&line, false), format!("{line}\n"));
        let wrapped = told(&line, true);
        assert!(
            wrapped.lines().count() > 1 && wrapped.contains(path),
            "{wrapped}"
        );
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH), "{wrapped}");
    }
}
