//! Flags that select a cluster, and the connection to it, shared by all commands on a cluster.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::runtime::Builder;

use crate::cluster::connection::{Connection, Target};

/// Exit code of an interrupted program.
#[cfg(feature = "lab")]
pub(super) const INTERRUPTED: u8 = 130;

/// Flags that name a cluster, as kubectl has them.
#[derive(Clone, Debug, Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file; in a cluster none is needed [env: KUBECONFIG, a list as kubectl has it]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, env = "CSR_WARDEN_CONTEXT", value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    /// Flags for the current context of this kubeconfig.
    #[cfg(feature = "lab")]
    pub(super) fn of_file(kubeconfig: &std::path::Path) -> ClusterArgs {
        ClusterArgs {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: None,
        }
    }

    /// Flags that select the same cluster in a child process, which inherits the environment.
    #[cfg(feature = "lab")]
    pub(super) fn words(&self) -> Vec<std::ffi::OsString> {
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.flat_map(|path| ["--kubeconfig".into(), path.into()]);
        let context = self.context.iter();
        let context = context.flat_map(|name| ["--context".into(), name.into()]);
        kubeconfig.chain(context).collect()
    }

    /// Returns true if a kubeconfig is named, which overrides the in-cluster configuration.
    pub(super) fn names_a_file(&self) -> bool {
        !self.kubeconfigs().is_empty()
    }

    /// Reads the configuration. No request is sent yet.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let target = Target {
            kubeconfigs: self.kubeconfigs(),
            context: self.context.clone(),
        };
        Ok(Connection::new(&target).await?)
    }

    /// Kubeconfig files: the one of the flag, or else the list in `KUBECONFIG` without empty names.
    fn kubeconfigs(&self) -> Vec<PathBuf> {
        match (&self.kubeconfig, std::env::var_os("KUBECONFIG")) {
            (Some(path), _) => vec![path.clone()],
            (None, Some(list)) => std::env::split_paths(&list)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// Runs a future that uses a cluster, on a runtime with two threads. Sets up the TLS library.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(Builder::new_multi_thread().worker_threads(2), work)
}

/// Same as [`block_on`], on the current thread. Memory that one thread allocates stays close
/// together, and an API server keeps less than half of a thread busy.
pub(super) fn block_on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(&mut Builder::new_current_thread(), work)
}

fn run_on<T>(builder: &mut Builder, work: impl Future<Output = Result<T>>) -> Result<T> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("the TLS library has been set up already"))?;
    let runtime = builder.enable_all().build().context("cannot start")?;
    let done = runtime.block_on(work);
    // A DNS lookup without an answer must not delay the exit.
    runtime.shutdown_background();
    done
}
