//! `csr-warden version`: versions of this program, of the policies in it, and of the API server.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::cluster_args::{ClusterArgs, block_on};
use super::format::TextFormat;
use super::render::print;
use crate::cluster::connection::Connection;
use crate::cluster::error::describe;
use crate::cluster::server_version::server_version;
use crate::telemetry::printable::printable;
use crate::version::{COMMIT, TARGET, VERSION, date};
use judge::policy::{SHIPPED, parse};

/// Deadline of the API server's answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Flags of `version`.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is 0 even if there is no cluster, or if it does not answer within 3 seconds.\n\n\
    Examples:\n  csr-warden version\n  csr-warden version --client -o json"
)]
pub(super) struct VersionArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Print the client's versions only, without asking the API server
    #[arg(long)]
    client: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextFormat::Text, value_name = "FORMAT")]
    output: TextFormat,
}

/// Versions of this program and of the API server.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Versions {
    /// Version of this program.
    version: &'static str,
    /// Commit that it was built from, or `unknown`. It ends in `-dirty` if files differed from it.
    commit: &'static str,
    /// Date of the commit, if the build knew it.
    #[schemars(with = "Option<String>")]
    date: Option<Timestamp>,
    /// Target triple that it was built for.
    target: &'static str,
    /// Shipped policies.
    policies: Vec<PolicyVersion>,
    /// The API server, if there is one.
    server: Option<ServerVersion>,
    /// Reason why no API server is known.
    server_error: Option<String>,
}

/// A shipped policy.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PolicyVersion {
    /// Its name.
    name: &'static str,
    /// The first 12 hexadecimal digits of the SHA-256 of its file.
    digest: String,
}

/// The API server.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ServerVersion {
    /// Its URL.
    url: String,
    /// Its version, such as `v1.36.2`, if it answered.
    version: Option<String>,
}

/// Runs `version`.
pub(super) fn version(args: &VersionArgs) -> Result<ExitCode> {
    let mut versions = Versions {
        version: VERSION,
        commit: COMMIT,
        date: date(),
        target: TARGET,
        policies: policies()?,
        server: None,
        server_error: None,
    };
    if !args.client {
        block_on(async {
            versions.ask(args).await;
            Ok(())
        })?;
    }
    print(&args.output.write(&versions, || versions.text())?)?;
    Ok(ExitCode::SUCCESS)
}

fn policies() -> Result<Vec<PolicyVersion>> {
    let digest = |(name, text): &(&'static str, &str)| {
        let policy = parse(text)?;
        Ok(PolicyVersion {
            name,
            digest: policy.digest,
        })
    };
    SHIPPED.iter().map(digest).collect()
}

async fn ask_version(connection: &Connection) -> Result<String, String> {
    match timeout(DEADLINE, server_version(&connection.writes)).await {
        Ok(Ok(version)) => Ok(version),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

impl Versions {
    async fn ask(&mut self, args: &VersionArgs) {
        let connection = match args.cluster.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                self.server_error = Some(format!("{error:#}"));
                return;
            }
        };
        let asked = ask_version(&connection).await;
        self.server_error = asked.as_ref().err().cloned();
        self.server = Some(ServerVersion {
            url: connection.server(),
            version: asked.ok(),
        });
    }

    fn text(&self) -> String {
        let mut text = format!("csr-warden  {}\n", self.version);
        let mut line = |name: &str, value: &str| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{name:<10}  {}", printable(value));
        };
        line("commit", self.commit);
        if let Some(date) = &self.date {
            line("date", &date.to_string());
        }
        line("target", self.target);
        for (index, policy) in self.policies.iter().enumerate() {
            let name = if index == 0 { "policies" } else { "" };
            line(name, &format!("{} {}", policy.digest, policy.name));
        }
        if let Some(server) = &self.server {
            let version = server.version.as_deref().unwrap_or("unknown");
            line("server", &format!("{version} {}", server.url));
        }
        if let Some(why) = &self.server_error {
            let name = if self.server.is_some() { "" } else { "server" };
            line(name, why);
        }
        text
    }
}
