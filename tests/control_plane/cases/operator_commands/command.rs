//! A csr-warden command as a user runs it, and its result.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::BINARY;
use crate::cases::test_cluster::TestCluster;
use control_plane::node_user::{NewRequest, NodeUser};
use testkit::forge::Recipe;
use testkit::forge::octets::{IpOctets, Octets};

pub const APPROVE: i32 = 0;
pub const DENY: i32 = 1;
pub const ERROR: i32 = 2;
pub const WAIT: i32 = 3;

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Checks the exit code, and that the text fits a terminal.
    pub fn exits(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "expected exit code {code}: {self:#?}");
        let widest = self.stdout.lines().map(|line| line.chars().count()).max();
        let for_people = !self.stdout.starts_with(['{', '-']);
        ensure!(!for_people || widest <= Some(80), "{}", self.stdout);
        Ok(self)
    }

    /// Checks that the output contains each of these.
    pub fn says(self, texts: &[&str]) -> Result<Self> {
        // Compared without line breaks.
        let words: Vec<&str> = self.stdout.split_whitespace().collect();
        let words = words.join(" ");
        for text in texts {
            ensure!(words.contains(text), "`{text}` is not in:\n{}", self.stdout);
        }
        Ok(self)
    }

    /// Checks for one line on standard error with each of these, and exit code 2.
    pub fn fails(self, texts: &[&str]) -> Result<()> {
        ensure!(self.code == ERROR, "expected an error: {self:#?}");
        ensure!(self.stderr.lines().count() == 1, "{self:#?}");
        ensure!(self.stderr.starts_with("csr-warden: "), "{self:#?}");
        for text in texts {
            ensure!(self.stderr.contains(text), "`{text}`: {}", self.stderr);
        }
        Ok(())
    }

    /// Parses the output as JSON, which must match its published schema.
    pub fn json(&self, schema: &str) -> Result<Value> {
        let value: Value =
            serde_json::from_str(&self.stdout).with_context(|| format!("{schema}: {self:#?}"))?;
        let path = format!("{}/docs/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).context(path)?;
        let validator = jsonschema::validator_for(&serde_json::from_str(&text)?)?;
        if let Err(error) = validator.validate(&value) {
            anyhow::bail!("{schema}: {error}\n{}", self.stdout);
        }
        Ok(value)
    }
}

/// Runs csr-warden with this kubeconfig, independent of the environment.
pub async fn run(kubeconfig: &Path, args: &[&str]) -> Result<Ran> {
    let mut command = Command::new(BINARY);
    command.args(args).arg("--kubeconfig").arg(kubeconfig);
    ran(command).await
}

/// Runs csr-warden as administrator.
pub async fn admin(test_cluster: &TestCluster, args: &[&str]) -> Result<Ran> {
    run(test_cluster.cluster.admin_kubeconfig(), args).await
}

/// Runs a command to its end.
pub async fn ran(mut command: Command) -> Result<Ran> {
    for variable in ["CSR_WARDEN_POLICY", "CSR_WARDEN_INVENTORY", "KUBECONFIG"] {
        command.env_remove(variable);
    }
    command.stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(Ran {
        code: output.status.code().context("no exit code")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// Returns the codes of the findings in an output.
pub fn codes(item: &Value) -> Vec<&str> {
    let findings = item["findings"].as_array().into_iter().flatten();
    findings
        .filter_map(|found| found["code"].as_str())
        .collect()
}

/// Posts a request for the node's own name and address, and additional names.
pub async fn ask_for(
    user: &NodeUser,
    request: &str,
    ip: &str,
    more_dns: &[&str],
    more_ips: &[&str],
) -> Result<()> {
    let mut recipe = Recipe::genuine(&user.name, &[&user.name], &[ip.parse()?]);
    recipe
        .dns
        .extend(more_dns.iter().map(|name| Octets::from(*name)));
    for ip in more_ips {
        recipe
            .ip
            .push(IpOctets::from(ip.parse::<std::net::IpAddr>()?));
    }
    user.post(&NewRequest::new(request, recipe.pem())).await?;
    Ok(())
}
