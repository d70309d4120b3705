//! `csr-warden policy`: the policies that ship, their schema, and whether one's own is good. And
//! which policy any other command uses.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};

use judge::API_VERSION;
use judge::evidence::{INVENTORY_KIND, Inventory};
use judge::policy::{KIND, Policy, SHIPPED, parse, shipped};
use judge::yaml;

/// The policy that is used if none is named.
const DEFAULT: &str = "default";

/// The file that a policy is in, and its text.
pub(super) type PolicyFile = (PathBuf, String);

/// The policy of this name among those that ship, or the one in this file, with the file.
pub(super) fn load(choice: Option<&str>) -> Result<(Policy, Option<PolicyFile>)> {
    let choice = choice.unwrap_or(DEFAULT);
    if let Some(policy) = shipped(choice) {
        return Ok((policy?, None));
    }
    let text = std::fs::read_to_string(choice).map_err(|error| {
        let expected = if error.kind() == ErrorKind::NotFound {
            format!(" (expected a file, or {})", expected(choice))
        } else {
            String::new()
        };
        anyhow!("cannot read policy `{choice}`{expected}: {error}")
    })?;
    let policy = parse(&text).map_err(|error| anyhow!("policy {choice}: {error}"))?;
    Ok((policy, Some((choice.into(), text))))
}

/// What could stand where this was found, and what was probably meant.
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
    /// Print a policy that ships, or the names of all
    Show {
        /// Its name
        name: Option<String>,
    },
    /// Say whether files are policies and inventories that can be used
    Validate {
        /// Policies and inventories. `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema, for editors
    Schema {
        /// Of which file
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

/// Does what is asked about policies.
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

/// Each name with the first sentence of the head comment, which says for whom it is.
fn listed() -> String {
    let mut text = String::new();
    for (name, policy) in SHIPPED {
        let first = policy.lines().next().unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<16}{}", first.trim_start_matches("# "));
    }
    text
}

/// Says of each file what it is, or what is wrong with it.
fn validate_all(files: &[PathBuf]) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match validate(file) {
            Ok(said) => write(&said)?,
            Err(error) => code = super::complain(&error),
        }
    }
    Ok(code)
}

fn validate(file: &Path) -> Result<String> {
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
        return Ok(format!("{shown}: an inventory of {nodes} nodes\n"));
    }
    let policy = parse(&text).map_err(|why| anyhow!("{shown}: {why}"))?;
    let (name, digest) = (policy.metadata.name, policy.digest);
    Ok(format!("{shown}: policy {name} ({digest})\n"))
}

/// As [`super::schemas`] has it: the text is smaller than what writes it.
fn schema(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy => include_str!("../../policies/policy.schema.json"),
        Kind::Inventory => include_str!("../../policies/inventory.schema.json"),
        Kind::Decision => include_str!("../../docs/decision.schema.json"),
    }
}
