//! How the API server is reached: three clients, because a hung watch, write and lease renewal
//! need different patience.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::util::MapRequestLayer;

use super::error::innermost;
use super::kubeconfig;
use super::token::TokenFile;

/// How long a watch may be silent; longer than [`super::watch::LASTS`].
const WATCH_SILENCE: Duration = Duration::from_secs(70);
/// How long a write may take, with what must be read for it.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(4);
/// How long the connections for writes may be silent. Each write has its own deadline; this one
/// keeps them open for the next.
const WRITE_SILENCE: Duration = Duration::from_secs(100);
/// How long a look at the Lease may take, with its renewal: two answers, and what it takes to
/// connect. A server that answers each within a second is slow, not ill.
pub const LEASE_DEADLINE: Duration = Duration::from_secs(4);
/// How long the Lease's connection may be silent: longer than from one renewal to the next, which
/// would else need a new connection each.
const LEASE_SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to come about.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Kubeconfig files; what an earlier one says holds against a later one.
    pub kubeconfigs: Vec<PathBuf>,
    /// A context in it other than the current one.
    pub context: Option<String>,
}

/// The way to one API server.
#[derive(Clone)]
pub struct Connection {
    /// Where it is and who we are.
    pub config: Config,
    /// For watches.
    pub watches: Client,
    /// For writes and single reads.
    pub writes: Client,
    /// For the Lease alone.
    pub lease: Client,
}

impl Connection {
    /// Reads the configuration; nothing is sent yet. Without a target the order is: in-cluster,
    /// then `~/.kube/config`.
    pub async fn new(target: &Target) -> Result<Connection> {
        Connection::with(load(target).await?)
    }

    /// With a configuration that has been read; nothing is sent yet.
    pub fn with(config: Config) -> Result<Connection> {
        // The client takes for granted that there is one.
        anyhow::ensure!(
            config.cluster_url.scheme().is_some(),
            "expected a server such as https://10.0.0.1:6443, found `{}` in the kubeconfig",
            config.cluster_url
        );
        let file = token_file(&config.auth_info)?;
        let client = |read: Duration| {
            let mut config = config.clone();
            if file.is_some() {
                config.auth_info.token_file = None;
                // kube takes it after a token's file.
                config.auth_info.exec = None;
            }
            config.connect_timeout = Some(CONNECT_DEADLINE);
            config.read_timeout = Some(read);
            config.write_timeout = Some(WRITE_DEADLINE);
            config.reset_reader_on_write = true;
            config.default_retry = false;
            build(config, file.clone())
        };
        Ok(Connection {
            watches: client(WATCH_SILENCE)?,
            writes: client(WRITE_SILENCE)?,
            lease: client(LEASE_SILENCE)?,
            config,
        })
    }

    /// The API server's address, for messages.
    pub fn server(&self) -> String {
        let url = self.config.cluster_url.to_string();
        url.trim_end_matches('/').to_owned()
    }
}

/// The token's file, if that is the credential.
fn token_file(auth: &AuthInfo) -> Result<Option<Arc<TokenFile>>> {
    // What kube takes before a token's file, it takes here too.
    let other = auth.token.is_some() || auth.username.is_some() || auth.auth_provider.is_some();
    match &auth.token_file {
        Some(path) if !other => {
            let file = TokenFile::open(Path::new(path));
            Ok(Some(Arc::new(
                file.context("the credential cannot be used")?,
            )))
        }
        Some(_) | None => Ok(None),
    }
}

fn build(config: Config, token: Option<Arc<TokenFile>>) -> Result<Client> {
    let builder = ClientBuilder::try_from(config)
        .map_err(|error| anyhow::anyhow!("the credential cannot be used: {}", innermost(&error)))?;
    let Some(token) = token else {
        return Ok(builder.build());
    };
    let authorize = MapRequestLayer::new(move |request| token.authorize(request));
    Ok(builder.with_layer(&authorize).build())
}

/// An error that names the contexts there are, if the one that is wanted is not among them.
fn check_context(kubeconfig: &Kubeconfig, wanted: Option<&str>) -> Result<()> {
    let names = || kubeconfig.contexts.iter().map(|named| named.name.as_str());
    let Some(wanted) = wanted.or(kubeconfig.current_context.as_deref()) else {
        anyhow::bail!("it has no current-context, and --context names none");
    };
    if names().any(|name| name == wanted) {
        return Ok(());
    }
    let present: Vec<String> = names().map(|name| format!("`{name}`")).collect();
    let present = match present.as_slice() {
        [] => "none at all".to_owned(),
        some => some.join(", "),
    };
    anyhow::bail!("it has no context `{wanted}`; found {present}")
}

/// All of these files as one, as kubectl merges them. Of several, those that are not there are
/// passed over, as long as one is.
fn read(paths: &[PathBuf]) -> Result<Kubeconfig> {
    let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    let to_read = if there.is_empty() {
        paths.iter().collect()
    } else {
        there
    };
    let mut merged = Kubeconfig::default();
    for path in to_read {
        merged = kubeconfig::read(path)
            .map_err(anyhow::Error::new)
            .and_then(|next| Ok(merged.merge(next)?))
            .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
    }
    Ok(merged)
}

async fn load(target: &Target) -> Result<Config> {
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    if !target.kubeconfigs.is_empty() {
        let shown: Vec<String> = target
            .kubeconfigs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let shown = shown.join(":");
        let kubeconfig = read(&target.kubeconfigs)?;
        check_context(&kubeconfig, target.context.as_deref())
            .with_context(|| format!("cannot use kubeconfig {shown}"))?;
        return Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| anyhow::anyhow!(innermost(&error)))
            .with_context(|| format!("cannot use kubeconfig {shown}"));
    }
    if target.context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    from_home(&options).await.context(
        "not inside of a cluster, and there is no usable kubeconfig (--kubeconfig, KUBECONFIG or \
         ~/.kube/config)",
    )
}

async fn from_home(options: &KubeConfigOptions) -> Result<Config> {
    let home = std::env::home_dir().context("there is no home directory")?;
    let kubeconfig = kubeconfig::read(&home.join(".kube/config"))?;
    Config::from_custom_kubeconfig(kubeconfig, options)
        .await
        .map_err(|error| anyhow::anyhow!(innermost(&error)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_scheme_is_named() {
        let config = Config::new("127.0.0.1:6443".parse().unwrap());
        let error = Connection::with(config).err().unwrap().to_string();
        assert!(error.contains("found `127.0.0.1:6443`"), "{error}");
    }

    #[tokio::test]
    async fn beside_a_tokens_file_no_command_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "t").unwrap();
        let mut config = Config::new("https://127.0.0.1".parse().unwrap());
        config.auth_info.exec = Some(
            serde_json::from_value(serde_json::json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": dir.path().join("absent"),
            }))
            .unwrap(),
        );
        assert!(Connection::with(config.clone()).is_err());
        config.auth_info.token_file = Some(token.display().to_string());
        assert!(Connection::with(config).is_ok());
    }

    /// The one JSONPath that the client itself reads: where a command's output has the token.
    #[tokio::test]
    async fn a_token_is_found_in_the_output_of_a_command() {
        let connect = async |path: &str| {
            let kubeconfig = serde_json::from_value(serde_json::json!({
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1"}}],
                "users": [{"name": "a", "user": {"auth-provider": {"name": "gcp", "config": {
                    "cmd-path": "echo",
                    "cmd-args": r#"{"credential":{"token":"t","lasts":3600}}"#,
                    "token-key": path,
                }}}}],
            }));
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig.unwrap(), &options).await;
            Connection::with(config.unwrap()).map(|_| ())
        };
        for path in ["{.credential.token}", "credential.token", "$..token"] {
            assert!(connect(path).await.is_ok(), "{path}");
        }
        for (path, expected) in [
            ("{.credential.other}", "not found"),
            ("{.credential.lasts}", "not a string"),
            ("{.credential[}", "Failed to query"),
        ] {
            let error = connect(path).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
