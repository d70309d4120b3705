//! A cluster, embedded or real, with replicas of csr-warden that have only the shipped rights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use apiserver_sim::{self as api, Server, User, WriteKind};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lab::attacker::{AttackOutcome, outcome};
use lab::signer;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use control_plane::POLL_INTERVAL;
use control_plane::assets::Assets;
use control_plane::bound_token::BoundToken;
use control_plane::cluster::{self, Cluster};
use control_plane::daemon::Daemon;
use control_plane::install::Installation;
use control_plane::manifests;
use control_plane::ports;
use control_plane::tcp_relay::TcpRelay;

const BINARY: &str = env!("CARGO_BIN_EXE_csr-warden");
const RBAC_MANIFESTS: [&str; 4] = [
    include_str!("../../deploy/base/service-account.yaml"),
    include_str!("../../deploy/base/cluster-role.yaml"),
    include_str!("../../deploy/base/roles.yaml"),
    include_str!("../../deploy/base/lease.yaml"),
];
/// The extra user information of a token that is bound to a Pod.
const POD: &str = "authentication.kubernetes.io/pod-name";
/// The prefix of attackers' node names.
pub const ATTACKER_PREFIX: &str = "rogue-";
const SOON: Duration = Duration::from_secs(60);
/// The time after which a silent connection of the administrator or the signer is closed.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The cluster that the daemon works for.
pub enum Backend {
    /// The embedded API server with its signer.
    Embedded {
        server: Server,
        signing: JoinHandle<()>,
    },
    /// The real control plane. Replicas reach it through the relay.
    Real {
        cluster: Box<Cluster>,
        relay: TcpRelay,
        token: BoundToken,
        installation: Box<Installation>,
    },
}

/// A cluster with its replicas. All are stopped when dropped.
pub struct TestCluster {
    // In the order of dropping: clients before their servers.
    /// The replicas, in the order of their start.
    pub replicas: Vec<Daemon>,
    /// The cluster.
    pub backend: Backend,
    admin: Config,
    tokens: BTreeMap<String, String>,
    shell: Option<String>,
    dir: TempDir,
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if let Backend::Embedded { signing, .. } = &self.backend {
            signing.abort();
        }
    }
}

impl TestCluster {
    /// Starts an embedded API server, without replicas.
    pub async fn embedded() -> Result<Self> {
        let [port] = ports::free()?;
        let server = Server::start(api::Options {
            port: Some(port),
            write_log: true,
            // Thousands of objects change while a watch is held up.
            history: 65_536,
            ..api::Options::default()
        })
        .await?;
        let kubeconfig = server.kubeconfig("kubernetes-admin", &["system:masters"])?;
        let admin = config(kubeconfig).await?;
        let client = Client::try_from(admin.clone())?;
        for manifest in RBAC_MANIFESTS {
            apply(&client, manifest).await?;
        }
        let authority = server.ca().clone();
        let signing = tokio::spawn(async move {
            signer::run(client, authority, signer::LIFETIME).await;
        });
        Ok(Self {
            replicas: Vec::new(),
            backend: Backend::Embedded { server, signing },
            admin,
            tokens: BTreeMap::new(),
            shell: None,
            dir: tempfile::tempdir()?,
        })
    }

    /// Starts a real control plane, without replicas.
    pub async fn real(assets: &Assets, options: cluster::Options) -> Result<Self> {
        let cluster = Cluster::start(assets, options).await?;
        let relay = TcpRelay::to(cluster.server()).await?;
        let installation = Installation::apply(&cluster, Path::new(BINARY)).await?;
        let token = BoundToken::create(&cluster).await?;
        let installation = installation.through(&cluster, &relay.server(), &token)?;
        let admin = config(Kubeconfig::read_from(cluster.admin_kubeconfig())?).await?;
        Ok(Self {
            replicas: Vec::new(),
            backend: Backend::Real {
                cluster: Box::new(cluster),
                relay,
                token,
                installation: Box::new(installation),
            },
            admin,
            tokens: BTreeMap::new(),
            shell: None,
            dir: tempfile::tempdir()?,
        })
    }

    /// Returns the embedded API server.
    pub fn server(&mut self) -> Result<&mut Server> {
        match &mut self.backend {
            Backend::Embedded { server, .. } => Ok(server),
            Backend::Real { .. } => bail!("this control plane is real"),
        }
    }

    /// Returns the real control plane.
    pub fn cluster(&mut self) -> Result<&mut Cluster> {
        match &mut self.backend {
            Backend::Real { cluster, .. } => Ok(cluster),
            Backend::Embedded { .. } => bail!("this control plane is embedded"),
        }
    }

    /// Returns the relay between the replicas and the real control plane.
    pub fn relay(&self) -> Result<&TcpRelay> {
        match &self.backend {
            Backend::Real { relay, .. } => Ok(relay),
            Backend::Embedded { .. } => bail!("there is no link to the embedded one"),
        }
    }

    /// Starts replicas by this shell script, to which `"$0" "$@"` is the daemon.
    pub fn start_by(&mut self, script: String) {
        self.shell = Some(script);
    }

    /// Returns a directory for files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts replicas with these names, and waits until they are ready and one leads.
    pub async fn start(&mut self, names: &[&str], args: &[&str]) -> Result<()> {
        for name in names {
            let daemon = self.launch(name, args).await?;
            self.replicas.push(daemon);
        }
        for daemon in &mut self.replicas {
            daemon.wait_ready(SOON).await?;
        }
        self.leader().await.map(|_| ())
    }

    /// Starts a replica, without waiting for it.
    pub async fn launch(&mut self, name: &str, args: &[&str]) -> Result<Daemon> {
        if let Backend::Real { installation, .. } = &self.backend {
            return installation.start(name, args);
        }
        let token = self.renew_token(name).await?;
        let mut kubeconfig = self.server()?.kubeconfig("powerless", &[])?;
        for user in &mut kubeconfig.auth_infos {
            let auth = user.auth_info.get_or_insert_default();
            *auth = kube::config::AuthInfo {
                token_file: Some(token.display().to_string()),
                ..kube::config::AuthInfo::default()
            };
        }
        let file = self.dir().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, serde_saphyr::to_string(&kubeconfig)?)?;
        let [port] = ports::free()?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let bind = address.to_string();
        let file = file.to_str().context("a path that is no text")?;
        let mut all = vec!["run", "--kubeconfig", file, "--bind-address", &bind];
        all.extend_from_slice(args);
        let host = [("HOSTNAME", (*name).to_owned())];
        if let Some(script) = &self.shell {
            all.splice(0..0, ["-c", script, BINARY]);
            return Daemon::start(Path::new("/bin/sh"), name, self.dir(), address, all, host);
        }
        Daemon::start(Path::new(BINARY), name, self.dir(), address, all, host)
    }

    /// Writes a new token into the file of this replica's Pod. The embedded API server rejects the
    /// previous one at once. On a real control plane all replicas share the token, and the previous
    /// one is valid until it is revoked.
    pub async fn renew_token(&mut self, name: &str) -> Result<PathBuf> {
        let server = match &mut self.backend {
            Backend::Embedded { server, .. } => server,
            Backend::Real { cluster, token, .. } => {
                token.renew(cluster).await?;
                return Ok(token.file().to_owned());
            }
        };
        let namespace = "system:serviceaccounts:kube-system";
        let groups = ["system:serviceaccounts", namespace];
        let mut user = User::new("system:serviceaccount:kube-system:csr-warden", &groups);
        user.extra.insert(POD.into(), vec![name.to_owned()]);
        let token = server.token(user);
        let file = self.dir.path().join(format!("{name}.token"));
        std::fs::write(&file, &token)?;
        if let Some(old) = self.tokens.insert(name.to_owned(), token) {
            server.revoke(&old);
        }
        Ok(file)
    }

    /// Revokes the token on a real control plane.
    pub async fn revoke_token(&self) -> Result<()> {
        match &self.backend {
            Backend::Real { cluster, token, .. } => token.revoke(cluster).await,
            Backend::Embedded { .. } => bail!("a new token replaces the old one there"),
        }
    }

    /// Returns the index of the leader.
    pub async fn leader(&self) -> Result<usize> {
        let begun = Instant::now();
        loop {
            for (number, replica) in self.replicas.iter().enumerate() {
                // A replica that is killed or frozen does not respond.
                if replica.is_leader().await.unwrap_or(false) {
                    return Ok(number);
                }
            }
            ensure!(begun.elapsed() < SOON, "no replica leads");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Creates the objects of a manifest on the embedded API server.
    pub async fn grant(&self, manifest: &str) -> Result<()> {
        apply(&self.admin()?, manifest).await
    }

    /// Returns an administrator's client.
    pub fn admin(&self) -> Result<Client> {
        Ok(Client::try_from(self.admin.clone())?)
    }

    /// Returns the client configuration of a user.
    pub async fn config_for(&self, user: &str, groups: &[&str]) -> Result<Config> {
        let kubeconfig = match &self.backend {
            Backend::Embedded { server, .. } => server.kubeconfig(user, groups)?,
            Backend::Real { cluster, .. } => {
                Kubeconfig::read_from(cluster.kubeconfig_for(user, groups)?)?
            }
        };
        config(kubeconfig).await
    }

    /// Returns all requests, as soon as the API server responds.
    pub async fn requests(&self) -> Result<Vec<CertificateSigningRequest>> {
        let api: Api<CertificateSigningRequest> = Api::all(self.admin()?);
        let begun = Instant::now();
        loop {
            match api.list(&ListParams::default()).await {
                Ok(list) => return Ok(list.items),
                Err(error) => ensure!(begun.elapsed() < SOON, "requests: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Checks the write log of the embedded API server: each request was written once, by the
    /// holder of the Lease at that time.
    pub fn only_leaders_wrote(&self) -> Result<()> {
        for (name, writer, holder) in self.writes()? {
            ensure!(
                holder.starts_with(&format!("{writer}_")),
                "{writer} wrote {name} while the Lease was `{holder}`'s"
            );
        }
        Ok(())
    }

    /// Returns each written request, its writer, and the holder of the Lease at that time. A
    /// request that was written twice is an error. A real API server has no write log.
    pub fn writes(&self) -> Result<Vec<(String, String, String)>> {
        let Backend::Embedded { server, .. } = &self.backend else {
            return Ok(Vec::new());
        };
        let mut holder = String::new();
        let mut seen = BTreeSet::new();
        let mut writes = Vec::new();
        for entry in server.write_log() {
            match entry.kind {
                WriteKind::Lease { key, holder: now } if key == "kube-system/csr-warden" => {
                    holder = now
                }
                WriteKind::Lease { .. } => {}
                WriteKind::Approval(name) => {
                    ensure!(seen.insert(name.clone()), "{name} was written twice");
                    let pod = entry.by.extra.get(POD).and_then(|names| names.first());
                    let pod = pod.with_context(|| format!("{} wrote {name}", entry.by.name))?;
                    writes.push((name, pod.clone(), holder.clone()));
                }
            }
        }
        Ok(writes)
    }
}

/// Returns true if an attacker sent the request.
pub fn is_forgery(request: &CertificateSigningRequest) -> bool {
    let by = request.spec.username.as_deref().unwrap_or_default();
    let node = by.strip_prefix("system:node:").unwrap_or_default();
    node.starts_with(ATTACKER_PREFIX)
}

/// Returns true if the request is approved and has its certificate.
pub fn is_served(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    let issued = status.is_some_and(|status| status.certificate.is_some());
    issued && outcome(request, Duration::ZERO) == Some(AttackOutcome::Approved)
}

async fn config(kubeconfig: Kubeconfig) -> Result<Config> {
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    config.read_timeout = Some(READ_TIMEOUT);
    config.proxy_url = None;
    Ok(config)
}

/// Creates the objects of a manifest.
async fn apply(client: &Client, manifest: &str) -> Result<()> {
    for (key, object) in manifests::objects(manifest)? {
        let (kind, place) = key.split_once(' ').context("a kind and a name")?;
        let (namespace, _) = place.split_once('/').context("a namespace and a name")?;
        let (group, plural) = match kind {
            "ServiceAccount" => ("api/v1", "serviceaccounts"),
            "ClusterRole" => ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
            "ClusterRoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
            "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
            "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
            "Lease" => ("apis/coordination.k8s.io/v1", "leases"),
            other => bail!("{other} is not known here"),
        };
        let place = match namespace {
            "" => String::new(),
            namespace => format!("namespaces/{namespace}/"),
        };
        let request = http::Request::post(format!("/{group}/{place}{plural}"))
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        client
            .request::<Value>(request)
            .await
            .with_context(|| key.clone())?;
    }
    Ok(())
}
