//! Flags that select a cluster, and the connection to it, shared by all commands on a cluster.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use jiff::SignedDuration;
use tokio::runtime::Builder;

use crate::cluster::connection::{Connection, Impersonated, Target};

/// Exit code of an interrupted program.
#[cfg(feature = "lab")]
pub(super) const INTERRUPTED: u8 = 130;

/// Heading of the flags that select a cluster.
const CONNECTION: &str = "Connection";

/// Flags that select a cluster and a user, as kubectl has them.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file; not needed inside a cluster [env: KUBECONFIG, a list as for kubectl]
    #[arg(help_heading = CONNECTION, long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Cluster in the kubeconfig, instead of the context's
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,
    /// User in the kubeconfig, instead of the context's
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_USER", value_name = "NAME")]
    user: Option<String>,
    /// URL of the API server, instead of the cluster's
    #[arg(help_heading = CONNECTION, short, long, env = "CSR_WARDEN_SERVER", value_name = "URL")]
    server: Option<String>,
    /// User to impersonate, such as system:serviceaccount:kube-system:csr-warden
    #[arg(help_heading = CONNECTION, long = "as", env = "CSR_WARDEN_AS", value_name = "NAME")]
    as_user: Option<String>,
    /// Group of the impersonated user; can be repeated
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_AS_GROUP", value_name = "NAME")]
    as_group: Vec<String>,
    /// UID of the impersonated user
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_AS_UID", value_name = "UID")]
    as_uid: Option<String>,
    /// Further attribute of the impersonated user; can be repeated
    #[arg(help_heading = CONNECTION, long, env = "CSR_WARDEN_AS_USER_EXTRA", value_name = "KEY=VALUE", value_parser = key_and_value)]
    as_user_extra: Vec<(String, String)>,
}

/// Time limit of requests, for commands that end.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RequestTimeout {
    /// Time limit of each request, such as 10, 1.5s or 2m; 0 for the limits of the connection
    #[arg(help_heading = CONNECTION, long, value_name = "TIME", default_value = "0", value_parser = request_timeout)]
    request_timeout: Duration,
}

impl RequestTimeout {
    fn limit(&self) -> Option<Duration> {
        (!self.request_timeout.is_zero()).then_some(self.request_timeout)
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses a number of seconds, or a duration as Go writes it.
fn request_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map(Duration::from_secs);
    let span = || text.parse::<SignedDuration>().ok()?.try_into().ok();
    let parsed = seconds.ok().or_else(span);
    parsed.ok_or_else(|| "expected seconds, or a time such as 1s, 2m or 3h".to_owned())
}

impl ClusterArgs {
    /// Flags for the current context of this kubeconfig.
    #[cfg(feature = "lab")]
    pub(super) fn of_file(kubeconfig: &std::path::Path) -> ClusterArgs {
        ClusterArgs {
            kubeconfig: Some(kubeconfig.to_owned()),
            ..ClusterArgs::default()
        }
    }

    /// Flags that select the same cluster in a child process, which inherits the environment.
    #[cfg(feature = "lab")]
    pub(super) fn words(&self) -> Vec<std::ffi::OsString> {
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.flat_map(|path| ["--kubeconfig".into(), path.into()]);
        let flags = [
            ("--context", &self.context),
            ("--cluster", &self.cluster),
            ("--user", &self.user),
            ("--server", &self.server),
            ("--as", &self.as_user),
            ("--as-uid", &self.as_uid),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(flag, value)| Some([flag.into(), value.as_ref()?.into()]));
        let groups = self.as_group.iter();
        let groups = groups.map(|group| ["--as-group".into(), group.into()]);
        let extra = self.as_user_extra.iter();
        let extra =
            extra.map(|(key, value)| ["--as-user-extra".into(), format!("{key}={value}").into()]);
        kubeconfig
            .chain(flags.chain(groups).chain(extra).flatten())
            .collect()
    }

    /// Returns true if a kubeconfig is named, which overrides the in-cluster configuration.
    pub(super) fn names_a_file(&self) -> bool {
        !self.kubeconfigs().is_empty()
    }

    /// Reads the configuration. No request is sent yet.
    pub(super) async fn connect(&self) -> Result<Connection> {
        Ok(Connection::new(&self.target()).await?)
    }

    /// Same as [`ClusterArgs::connect`], with a time limit of each request.
    pub(super) async fn connect_within(&self, timeout: &RequestTimeout) -> Result<Connection> {
        let target = Target {
            request_timeout: timeout.limit(),
            ..self.target()
        };
        Ok(Connection::new(&target).await?)
    }

    /// The same flags for another context.
    pub(super) fn in_context(&self, name: &str) -> ClusterArgs {
        ClusterArgs {
            context: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// Names of all contexts in the kubeconfig.
    pub(super) fn contexts(&self) -> Result<Vec<String>> {
        Ok(self.target().contexts()?)
    }

    fn target(&self) -> Target {
        let mut extra: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in &self.as_user_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
        Target {
            kubeconfigs: self.kubeconfigs(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            server: self.server.clone(),
            impersonated: Impersonated {
                name: self.as_user.clone(),
                uid: self.as_uid.clone(),
                groups: self.as_group.clone(),
                extra,
            },
            request_timeout: None,
        }
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
