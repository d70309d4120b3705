//! `csr-warden policy`: the policies that ship, their schema, and whether one's own is good. And
//! which policy any other command uses.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use schemars::Schema;

use crate::evidence::{Inventory, InventoryFile};
use crate::policy::{Policy, SHIPPED, parse, shipped};
use crate::telemetry::audit;

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
    let text = std::fs::read_to_string(choice).with_context(|| {
        let expected = names();
        format!("cannot read policy `{choice}` (expected a file, or one of {expected})")
    })?;
    let policy = parse(&text).map_err(|error| anyhow!("policy {choice}: {error}"))?;
    Ok((policy, Some((choice.into(), text))))
}

fn names() -> String {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    names.join(", ")
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
        /// Policies and inventories
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
            let expected = names();
            let (_, text) =
                found.ok_or_else(|| anyhow!("expected one of {expected}, found `{name}`"))?;
            (*text).to_owned()
        }
        PolicyCommand::Validate { files } => files.iter().map(validate).collect::<Result<_>>()?,
        PolicyCommand::Schema { kind } => schema(*kind)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write")?;
    Ok(ExitCode::SUCCESS)
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

fn validate(file: &PathBuf) -> Result<String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let is_inventory = text
        .lines()
        .any(|line| line.trim_end() == "kind: Inventory");
    if is_inventory {
        let inventory = Inventory::parse(&text).map_err(|why| anyhow!("{shown}: {why}"))?;
        let nodes = inventory.len();
        return Ok(format!("{shown}: an inventory of {nodes} nodes\n"));
    }
    let policy = parse(&text).map_err(|why| anyhow!("{shown}: {why}"))?;
    let (name, digest) = (policy.metadata.name, policy.digest);
    Ok(format!("{shown}: policy {name} ({digest})\n"))
}

fn schema(kind: Kind) -> Result<String> {
    let schema: Schema = match kind {
        Kind::Policy => schemars::schema_for!(Policy),
        Kind::Inventory => schemars::schema_for!(InventoryFile),
        Kind::Decision => audit::schema(),
    };
    let text = serde_json::to_string_pretty(&schema).context("cannot write the schema")?;
    Ok(text + "\n")
}
