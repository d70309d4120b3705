//! Selection of a cluster and a user, with the flags of kubectl.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedCluster,
    NamedContext,
};
use thiserror::Error;

use super::connection::ConnectError;
use super::error::innermost;
use super::kubeconfig::{self, ReadError};
use super::proxy;

/// Name of what flags select without a kubeconfig that has it.
const BY_FLAGS: &str = "of the flags";
/// A proxy that is never asked. With one, kube leaves the environment's alone.
const UNUSED_PROXY: &str = "http://0.0.0.0";

/// A context that cannot be used.
#[derive(Debug, Error)]
pub enum ContextError {
    /// No context is selected.
    #[error("it has no current-context, and --context names none")]
    NotChosen,
    /// The selected context, cluster or user does not exist.
    #[error("it has no {what} `{wanted}`; found {}", names(present))]
    Absent {
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The selected one.
        wanted: String,
        /// The existing ones.
        present: Vec<String>,
    },
    /// The context refers to something that cannot be used.
    #[error("{}", innermost(.0))]
    Refused(KubeconfigError),
}

/// A default kubeconfig (`~/.kube/config`) that cannot be used.
#[derive(Debug, Error)]
pub enum DefaultKubeconfigError {
    /// There is no home directory.
    #[error("there is no home directory")]
    NoHome,
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its context cannot be used.
    #[error(transparent)]
    Context(ContextError),
}

/// Selection of a cluster and a user. Each field overrides the kubeconfig.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Kubeconfig files. The first file that sets a value wins.
    pub kubeconfigs: Vec<PathBuf>,
    /// A context to use instead of the current one.
    pub context: Option<String>,
    /// A cluster to use instead of the context's.
    pub cluster: Option<String>,
    /// A user to use instead of the context's.
    pub user: Option<String>,
    /// The URL of the API server.
    pub server: Option<String>,
    /// The user to impersonate.
    pub impersonated: Impersonated,
    /// Time limit of each request.
    pub request_timeout: Option<Duration>,
}

/// A user to impersonate.
#[derive(Clone, Debug, Default)]
pub struct Impersonated {
    /// Its name.
    pub name: Option<String>,
    /// Its UID.
    pub uid: Option<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its further attributes.
    pub extra: HashMap<String, Vec<String>>,
}

impl Target {
    /// Reads the configuration; sends nothing.
    pub(super) async fn config(&self) -> Result<Config, ConnectError> {
        let mut config = self.unimpersonated().await?;
        let auth = &mut config.auth_info;
        let new = &self.impersonated;
        if new.name.is_some() {
            auth.impersonate.clone_from(&new.name);
        }
        if new.uid.is_some() {
            auth.impersonate_uid.clone_from(&new.uid);
        }
        if !new.groups.is_empty() {
            auth.impersonate_groups = Some(new.groups.clone());
        }
        if !new.extra.is_empty() {
            auth.impersonate_user_extra = Some(new.extra.clone());
        }
        if auth.impersonate.is_some() {
            return Ok(config);
        }
        if new.uid.is_some() || !new.groups.is_empty() || !new.extra.is_empty() {
            return Err(ConnectError::NotImpersonated);
        }
        // kubectl ignores these in a kubeconfig without a name.
        auth.impersonate_uid = None;
        auth.impersonate_groups = None;
        auth.impersonate_user_extra = None;
        Ok(config)
    }

    /// The names of all contexts.
    pub fn contexts(&self) -> Result<Vec<String>, ConnectError> {
        let kubeconfig = if self.kubeconfigs.is_empty() {
            default_kubeconfig()?
        } else {
            read_merged(&self.kubeconfigs)?
        };
        let contexts = kubeconfig.contexts.into_iter();
        Ok(contexts.map(|named| named.name).collect())
    }

    async fn unimpersonated(&self) -> Result<Config, ConnectError> {
        if !self.kubeconfigs.is_empty() {
            let files: Vec<String> = self
                .kubeconfigs
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let files = files.join(":");
            let kubeconfig = read_merged(&self.kubeconfigs)?;
            let in_file = |cause| ConnectError::Context { files, cause };
            return self.configure(kubeconfig, in_file).await;
        }
        let names_an_entry =
            self.context.is_some() || self.cluster.is_some() || self.user.is_some();
        if !names_an_entry && let Ok(mut config) = Config::incluster() {
            if let Some(server) = &self.server {
                config.cluster_url = parse(server)?;
            }
            return Ok(with_credential_over_tls(config));
        }
        let kubeconfig = match default_kubeconfig() {
            Err(_) if self.server.is_some() && !names_an_entry => Kubeconfig::default(),
            read => read?,
        };
        let by_default = |cause| DefaultKubeconfigError::Context(cause).into();
        self.configure(kubeconfig, by_default).await
    }

    /// Reads the configuration of the selected context.
    ///
    /// kube applies `NO_PROXY` to the address of the proxy, and to a `proxy-url` too. It reports a wrong
    /// `HTTPS_PROXY` as an error of the kubeconfig.
    async fn configure(
        &self,
        mut kubeconfig: Kubeconfig,
        refused: impl FnOnce(ContextError) -> ConnectError,
    ) -> Result<Config, ConnectError> {
        let selected = match self.select(&mut kubeconfig) {
            Ok(selected) => selected,
            Err(error) => return Err(refused(error)),
        };
        let mut names_proxy = false;
        for cluster in clusters(&mut kubeconfig, selected.cluster.as_deref()) {
            if let Some(server) = &self.server {
                cluster.server = Some(server.clone());
                // As kubectl: it is the name in another server's certificate.
                cluster.tls_server_name = None;
            }
            names_proxy = cluster
                .proxy_url
                .as_ref()
                .is_some_and(|url| !url.is_empty());
            if !names_proxy {
                cluster.proxy_url = Some(UNUSED_PROXY.to_owned());
            }
        }
        let config = Config::from_custom_kubeconfig(kubeconfig, &selected).await;
        let mut config = match config {
            Ok(config) => config,
            Err(error) => return Err(refused(ContextError::Refused(error))),
        };
        if !names_proxy {
            config.proxy_url = proxy::of_environment(&config.cluster_url)?;
            let exec = config.auth_info.exec.as_mut();
            if let Some(cluster) = exec.and_then(|exec| exec.cluster.as_mut()) {
                cluster.proxy_url = None;
            }
        }
        Ok(with_credential_over_tls(config))
    }

    /// Checks that the selected context, cluster and user exist. Flags can replace a context.
    fn select(&self, kubeconfig: &mut Kubeconfig) -> Result<KubeConfigOptions, ContextError> {
        let current = kubeconfig.current_context.clone();
        let wanted = self
            .context
            .clone()
            .or(current.filter(|name| !name.is_empty()));
        let wanted = match wanted {
            Some(wanted) => {
                let contexts = kubeconfig.contexts.iter().map(|named| &named.name);
                find("context", &wanted, contexts)?;
                wanted
            }
            None if self.cluster.is_some() || self.server.is_some() => {
                let context = serde_json::from_value(serde_json::json!({"cluster": BY_FLAGS}));
                let context: Option<Context> = context.ok();
                kubeconfig.contexts.push(NamedContext {
                    name: BY_FLAGS.to_owned(),
                    context,
                    ..NamedContext::default()
                });
                BY_FLAGS.to_owned()
            }
            None => return Err(ContextError::NotChosen),
        };
        if let Some(user) = &self.user {
            let users = kubeconfig.auth_infos.iter().map(|named| &named.name);
            find("user", user, users)?;
        }
        let clusters = kubeconfig.clusters.iter().map(|named| &named.name);
        if let Some(cluster) = &self.cluster {
            find("cluster", cluster, clusters.clone())?;
        }
        let contexts = kubeconfig.contexts.iter();
        let context = contexts
            .filter(|named| named.name == wanted)
            .find_map(|named| named.context.as_ref());
        let cluster = self.cluster.clone();
        let cluster = cluster.or_else(|| Some(context?.cluster.clone()));
        if self.server.is_some()
            && let Some(cluster) = &cluster
            && !clusters.clone().any(|name| name == cluster)
        {
            let name = cluster.clone();
            kubeconfig.clusters.push(NamedCluster {
                name,
                cluster: Some(Cluster::default()),
                ..NamedCluster::default()
            });
        }
        Ok(KubeConfigOptions {
            context: Some(wanted),
            cluster,
            user: self.user.clone(),
        })
    }
}

fn find<'a>(
    what: &'static str,
    wanted: &str,
    mut present: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), ContextError> {
    let all = present.clone();
    if present.any(|name| name == wanted) {
        return Ok(());
    }
    Err(ContextError::Absent {
        what,
        wanted: wanted.to_owned(),
        present: all.cloned().collect(),
    })
}

/// The first cluster of this name.
fn clusters<'a>(
    kubeconfig: &'a mut Kubeconfig,
    wanted: Option<&'a str>,
) -> impl Iterator<Item = &'a mut Cluster> {
    let all = kubeconfig.clusters.iter_mut();
    let named = all.filter(move |named| Some(&*named.name) == wanted);
    named.take(1).filter_map(|named| named.cluster.as_mut())
}

/// Without TLS, only the impersonated user is kept. As kubectl, no credential is sent in plain text.
fn with_credential_over_tls(mut config: Config) -> Config {
    if config.cluster_url.scheme() == Some(&Scheme::HTTP) {
        let auth = config.auth_info;
        config.auth_info = AuthInfo {
            impersonate: auth.impersonate,
            impersonate_uid: auth.impersonate_uid,
            impersonate_groups: auth.impersonate_groups,
            impersonate_user_extra: auth.impersonate_user_extra,
            ..AuthInfo::default()
        };
    }
    config
}

fn parse(server: &str) -> Result<http::Uri, ConnectError> {
    let parsed = server.parse();
    parsed.map_err(|_| ConnectError::Server(server.to_owned()))
}

fn names(present: &[String]) -> String {
    match present {
        [] => "none at all".to_owned(),
        some => {
            let quoted: Vec<String> = some.iter().map(|name| format!("`{name}`")).collect();
            quoted.join(", ")
        }
    }
}

/// Merges kubeconfig files as kubectl does. Missing files are skipped as long as one exists.
fn read_merged(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let existing: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    let to_read = if existing.is_empty() {
        paths.iter().collect()
    } else {
        existing
    };
    let mut merged = Kubeconfig::default();
    for path in to_read {
        merged = kubeconfig::read(path)
            .and_then(|next| Ok(merged.merge(next)?))
            .map_err(|cause| ConnectError::Read {
                path: path.clone(),
                cause,
            })?;
    }
    Ok(merged)
}

fn default_kubeconfig() -> Result<Kubeconfig, DefaultKubeconfigError> {
    let home = std::env::home_dir().ok_or(DefaultKubeconfigError::NoHome)?;
    Ok(kubeconfig::read(&home.join(".kube/config"))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn configure(target: &Target, kubeconfig: Value) -> Result<Config, String> {
        let kubeconfig = serde_json::from_value(kubeconfig).unwrap();
        let refused = |cause| ConnectError::Context {
            files: "f".to_owned(),
            cause,
        };
        let config = target.configure(kubeconfig, refused).await;
        config.map_err(|error| error.to_string())
    }

    fn kubeconfig() -> Value {
        json!({
            "current-context": "a",
            "contexts": [
                {"name": "a", "context": {"cluster": "a", "user": "a"}},
                {"name": "b", "context": {"cluster": "b", "user": "absent"}},
            ],
            "clusters": [
                {"name": "a", "cluster": {
                    "server": "https://127.0.0.1:1", "tls-server-name": "a", "proxy-url": "socks5://10.0.0.1",
                }},
                {"name": "b", "cluster": {"server": "https://127.0.0.1:2", "proxy-url": ""}},
            ],
            "users": [{"name": "a", "user": {"username": "a"}}, {"name": "b", "user": {"username": "b"}}],
        })
    }

    /// The proxy of the environment is left to the tests of the program.
    #[tokio::test]
    async fn a_proxy_url_is_kept() {
        for (context, expected) in [("a", Some("socks5://10.0.0.1")), ("b", None)] {
            let target = Target {
                context: Some(context.to_owned()),
                ..Target::default()
            };
            let config = configure(&target, kubeconfig()).await.unwrap();
            let expected = expected.map(|url| url.parse().unwrap());
            assert_eq!(config.proxy_url, expected);
        }
    }

    #[tokio::test]
    async fn each_flag_overrides_its_part_of_the_context() {
        let target = |cluster: Option<&str>, user: Option<&str>, server: Option<&str>| Target {
            cluster: cluster.map(str::to_owned),
            user: user.map(str::to_owned),
            server: server.map(str::to_owned),
            ..Target::default()
        };
        let found = |config: Config| {
            let url = config.cluster_url.to_string();
            (url, config.auth_info.username, config.tls_server_name)
        };
        let a = Some("a".to_owned());
        let b = Some("b".to_owned());
        for (target, expected) in [
            (target(None, None, None), ("https://127.0.0.1:1/", &a, &a)),
            (
                target(Some("b"), None, None),
                ("https://127.0.0.1:2/", &a, &None),
            ),
            (
                target(None, Some("b"), None),
                ("https://127.0.0.1:1/", &b, &a),
            ),
            (
                target(None, None, Some("https://127.0.0.1:3")),
                ("https://127.0.0.1:3/", &a, &None),
            ),
            // No credential is sent in plain text.
            (
                target(None, None, Some("http://127.0.0.1:3")),
                ("http://127.0.0.1:3/", &None, &None),
            ),
        ] {
            let (url, user, name) = found(configure(&target, kubeconfig()).await.unwrap());
            assert_eq!((&*url, &user, &name), expected, "{target:?}");
        }
        for (target, expected) in [
            (
                target(Some("c"), None, None),
                "it has no cluster `c`; found `a`, `b`",
            ),
            (
                target(None, Some("c"), None),
                "it has no user `c`; found `a`, `b`",
            ),
        ] {
            let error = configure(&target, kubeconfig()).await.unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn flags_replace_a_context() {
        let mut without = kubeconfig();
        without.as_object_mut().unwrap().remove("current-context");
        let error = configure(&Target::default(), without.clone()).await;
        assert!(error.unwrap_err().contains("no current-context"));
        let mut target = Target {
            server: Some("https://127.0.0.1:3".to_owned()),
            ..Target::default()
        };
        for kubeconfig in [json!({}), without.clone()] {
            let config = configure(&target, kubeconfig).await.unwrap();
            assert_eq!(config.cluster_url, "https://127.0.0.1:3");
            assert_eq!(config.auth_info.username, None);
        }
        target = Target {
            cluster: Some("b".to_owned()),
            user: Some("b".to_owned()),
            ..Target::default()
        };
        let config = configure(&target, without).await.unwrap();
        assert_eq!(config.cluster_url, "https://127.0.0.1:2");
        assert_eq!(config.auth_info.username.as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn an_exec_plugin_is_given_the_proxy_url_alone() {
        let exec = |proxy: &str| {
            json!({
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", "proxy-url": proxy}}],
                "users": [{"name": "a", "user": {"exec": {
                    "apiVersion": "client.authentication.k8s.io/v1", "command": "a", "provideClusterInfo": true,
                }}}],
            })
        };
        for (proxy, expected) in [("", None), ("http://10.0.0.1", Some("http://10.0.0.1"))] {
            let config = configure(&Target::default(), exec(proxy)).await.unwrap();
            let cluster = config.auth_info.exec.unwrap().cluster.unwrap();
            assert_eq!(cluster.proxy_url.as_deref(), expected);
        }
    }
}
