//! Which cluster a command is about: flags that every command on a cluster has, and the way there.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::runtime::Builder;

use crate::cluster::connection::{Connection, Target};

/// The exit code of a program that was interrupted.
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
    /// The cluster of this kubeconfig's current context.
    #[cfg(feature = "lab")]
    pub(super) fn of_file(kubeconfig: &std::path::Path) -> ClusterArgs {
        ClusterArgs {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: None,
        }
    }

    /// The flags that name the same cluster to another process; the environment is its own too.
    #[cfg(feature = "lab")]
    pub(super) fn words(&self) -> Vec<std::ffi::OsString> {
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.flat_map(|path| ["--kubeconfig".into(), path.into()]);
        let context = self.context.iter();
        let context = context.flat_map(|name| ["--context".into(), name.into()]);
        kubeconfig.chain(context).collect()
    }

    /// Whether a kubeconfig is named, so that a Pod's own surroundings say nothing.
    pub(super) fn names_a_file(&self) -> bool {
        !self.kubeconfigs().is_empty()
    }

    /// Reads the configuration; nothing is sent yet.
    pub(super) async fn connect(&self) -> Result<Connection> {
        let target = Target {
            kubeconfigs: self.kubeconfigs(),
            context: self.context.clone(),
        };
        Ok(Connection::new(&target).await?)
    }

    /// The flag names one file; `KUBECONFIG` is a list, in which empty names count for nothing.
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

/// Runs what talks to a cluster, on a runtime of two threads, with the one TLS library set up.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(Builder::new_multi_thread().worker_threads(2), work)
}

/// The same on this thread alone: what one thread makes and frees lies close together, and an API
/// server keeps less than half of one busy.
pub(super) fn block_on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    run_on(&mut Builder::new_current_thread(), work)
}

fn run_on<T>(builder: &mut Builder, work: impl Future<Output = Result<T>>) -> Result<T> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("the TLS library has been set up already"))?;
    let runtime = builder.enable_all().build().context("cannot start")?;
    let done = runtime.block_on(work);
    // A name that a resolver does not answer for must not hold up the end.
    runtime.shutdown_background();
    done
}
