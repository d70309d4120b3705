//! Flags for the policy and the evidence sources of requests on a cluster.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use kube::Client;

use super::policy;
use crate::cluster::connection::{Connection, Target};
use crate::controller::InventoryFile;
use crate::sources::replaced_file::FileVersion;
use crate::sources::{kubelet_ca, watched_file};
use judge::evidence::Inventory;
use judge::policy::Policy;

/// The policy, and where its independent sources are.
#[derive(Clone, Debug, Args)]
pub(super) struct JudgingArgs {
    /// Policy file, or the name of a shipped policy
    #[arg(long, env = "CSR_WARDEN_POLICY", value_name = "FILE")]
    policy: Option<String>,
    /// Inventory file, which lists the names and addresses of each node
    #[arg(long, env = "CSR_WARDEN_INVENTORY", value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Kubeconfig file of the cluster that has the Machines, if it is not the same cluster
    #[arg(long, env = "CSR_WARDEN_MACHINES_KUBECONFIG", value_name = "FILE")]
    machines_kubeconfig: Option<PathBuf>,
    /// CA certificates that verify kubelets' serving certificates [default: the cluster's]
    #[arg(
        long,
        env = "CSR_WARDEN_KUBELET_CERTIFICATE_AUTHORITY",
        value_name = "FILE"
    )]
    kubelet_certificate_authority: Option<PathBuf>,
}

impl JudgingArgs {
    /// Policy, and its file if it is not a shipped one.
    pub(super) fn policy(&self) -> Result<(Policy, Option<FileVersion>)> {
        policy::load(self.policy.as_deref())
    }

    /// Inventory, if the flag names one.
    pub(super) fn inventory(&self) -> Result<Option<InventoryFile>> {
        self.inventory.clone().map(inventory).transpose()
    }

    /// Client of the API server that has the Machines.
    pub(super) async fn machines(&self, connection: &Connection) -> Result<Client> {
        let Some(kubeconfig) = &self.machines_kubeconfig else {
            return Ok(connection.watches.clone());
        };
        let target = Target {
            kubeconfigs: vec![kubeconfig.clone()],
            ..Target::default()
        };
        Ok(Connection::new(&target).await?.watches)
    }

    /// CA certificates that verify kubelets' serving certificates, in DER.
    pub(super) fn kubelet_authorities(&self, connection: &Connection) -> Result<Vec<Vec<u8>>> {
        let Some(path) = &self.kubelet_certificate_authority else {
            return Ok(connection.config.root_cert.clone().unwrap_or_default());
        };
        let pem = watched_file::read(path)?;
        kubelet_ca::parse_pem(pem.as_bytes()).map_err(|why| anyhow!("{}: {why}", path.display()))
    }
}

pub(super) fn inventory(path: PathBuf) -> Result<InventoryFile> {
    let file = FileVersion::read(&path).map_err(|why| anyhow!("inventory: {why}"))?;
    let inventory = Inventory::parse(&file.text)
        .map_err(|why| anyhow!("inventory {}: {why}", path.display()))?;
    Ok(InventoryFile { file, inventory })
}
