//! `csr-warden policy`: prints shipped policies and schemas, and validates files. Also loads the
//! policy of every other command.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};

use crate::sources::replaced_file::FileVersion;
use crate::telemetry::printable::printable;
use judge::API_VERSION;
use judge::evidence::{INVENTORY_KIND, Inventory};
use judge::policy::{KIND, Policy, SHIPPED, parse, shipped};
use judge::yaml;

/// Shipped policy that is the default.
const DEFAULT: &str = "default";

/// Loads a shipped policy by name, or a policy file, which is returned too.
pub(super) fn load(choice: Option<&str>) -> Result<(Policy, Option<FileVersion>)> {
    let choice = choice.unwrap_or(DEFAULT);
    if let Some(policy) = shipped(choice) {
        return Ok((policy?, None));
    }
    let file = FileVersion::read(Path::new(choice)).map_err(|error| {
        let error = error.cause;
        let expected = if error.kind() == ErrorKind::NotFound {
            format!(" (expected a file, or {})", expected(choice))
        } else {
            String::new()
        };
        anyhow!("cannot read policy `{choice}`{expected}: {error}")
    })?;
    let policy = parse(&file.text).map_err(|error| anyhow!("policy {choice}: {error}"))?;
    Ok((policy, Some(file)))
}

/// Expected policy names for an error message, with a suggestion for the one found.
fn expected(found: &str) -> String {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    format!(
        "one of {}{}",
        names.join(", "),
        yaml::suggestion(found, &names)
    )
}

/// Flags of `policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Print a shipped policy, or the names of all
    Show {
        /// Name of the policy
        name: Option<String>,
    },
    /// Validate policy and inventory files
    Validate {
        /// Policies and inventories. `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema, for editors
    Schema {
        /// Kind of file
        #[arg(value_enum, default_value_t = Kind::Policy)]
        kind: Kind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Policy,
    Inventory,
    /// A line of the daemon's log of decisions
    Decision,
}

/// Runs `policy`.
pub(super) fn policy(args: &PolicyArgs) -> Result<ExitCode> {
    let text = match &args.command {
        PolicyCommand::Show { name: None } => listed(),
        PolicyCommand::Show { name: Some(name) } => {
            let found = SHIPPED.iter().find(|(known, _)| known == name);
            let (_, text) =
                found.ok_or_else(|| anyhow!("found `{name}`, expected {}", expected(name)))?;
            (*text).to_owned()
        }
        PolicyCommand::Validate { files } => return validate_all(files),
        PolicyCommand::Schema { kind } => schema(*kind).to_owned(),
    };
    write(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn write(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write")
}

/// Shipped policies, each with the first sentence of its head comment, which names its users.
fn listed() -> String {
    let mut text = String::new();
    for (name, policy) in SHIPPED {
        let first = policy.lines().next().unwrap_or_default();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name:<16}{}", first.trim_start_matches("# "));
    }
    text
}

/// Validates each file, and prints its kind or its error.
fn validate_all(files: &[PathBuf]) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match validate(file) {
            Ok(lines) => {
                for line in lines {
                    write(&format!("{}\n", printable(&line)))?;
                }
            }
            Err(error) => code = super::complain(&error),
        }
    }
    Ok(code)
}

/// Validates one file. Returns its kind, and a line for each warning.
fn validate(file: &Path) -> Result<Vec<String>> {
    let (shown, text) = if file == Path::new("-") {
        let text = std::io::read_to_string(std::io::stdin());
        ("standard input".to_owned(), text)
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    let text = text.with_context(|| format!("cannot read {shown}"))?;
    let kind = yaml::kind_of(&text, API_VERSION, &[KIND, INVENTORY_KIND])
        .map_err(|why| anyhow!("{shown}: {why}"))?;
    if kind == INVENTORY_KIND {
        let inventory = Inventory::parse(&text).map_err(|why| anyhow!("{shown}: {why}"))?;
        let nodes = inventory.len();
        return Ok(vec![format!("{shown}: an inventory of {nodes} nodes")]);
    }
    let policy = parse(&text).map_err(|why| anyhow!("{shown}: {why}"))?;
    let warnings = policy.warnings().into_iter();
    let warnings = warnings.map(|warning| format!("{shown}: warning: {warning}"));
    let (name, digest) = (&policy.metadata.name, &policy.digest);
    let first = format!("{shown}: policy {name} ({digest})");
    Ok(std::iter::once(first).chain(warnings).collect())
}

/// Schema text, equal to the output of [`super::schemas`]. It is smaller in the binary than its
/// generator.
fn schema(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy => include_str!("../../policies/policy.schema.json"),
        Kind::Inventory => include_str!("../../policies/inventory.schema.json"),
        Kind::Decision => include_str!("../../docs/decision.schema.json"),
    }
}
