//! The command line: one file for each subcommand.

mod check;
mod daemon;
#[cfg(feature = "sim")]
mod demo;
mod offline;
mod policy;
mod render;
mod run;
mod target;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The width of a terminal that everybody has.
const WIDTH: usize = 80;

/// Approves the serving certificates of kubelets on proof, and denies forged requests.
#[derive(Debug, Parser)]
#[command(
    name = "csr-warden",
    version,
    arg_required_else_help = true,
    max_term_width = 80
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a cluster and judge its kubelets' requests as they come
    Run(Box<run::RunArgs>),
    /// Judge requests from files, without a cluster
    Check(check::CheckArgs),
    /// Show it at work: a cluster in this process, with kubelets and attackers
    #[cfg(feature = "sim")]
    Demo(demo::DemoArgs),
    /// Show the policies that ship, their schema, and check one's own
    Policy(policy::PolicyArgs),
}

/// Reads the command line, does what it says, and tells of errors in one sentence.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Check(args) => check::check(&args),
        #[cfg(feature = "sim")]
        Command::Demo(args) => demo::demo(&args),
        Command::Policy(args) => policy::policy(&args),
    };
    result.unwrap_or_else(|error| {
        let for_person = std::io::stderr().is_terminal();
        let line = told(&format!("csr-warden: {error:#}"), for_person);
        // If nothing can be written, the exit code still says it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        ExitCode::from(2)
    })
}

/// One line for programs; for a person no wider than a terminal, with paths and names whole.
fn told(line: &str, for_person: bool) -> String {
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
