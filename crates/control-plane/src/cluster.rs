//! The smallest control plane that judges, approves and signs the request of a kubelet.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderName, HeaderValue};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use super::POLL_INTERVAL;
use super::assets::Assets;
use super::cluster_dir::ClusterDir;
use super::components::{ApiServer, ServingNames};
use super::etcd::Store;
use super::https::Https;
use super::pki::{Authority, Pair};
use super::process::Process;
use super::{components, metrics, ports, signer_readiness};

pub use super::options::Options;

/// The deadline for a component to become ready, which takes about 3 s.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// The name of the first API server's certificate.
const API_SERVER: &str = "apiserver";

/// A running control plane. Its processes are stopped and its files are removed when it is dropped.
///
/// Each component can be stopped, killed, paused and restarted on its own. It keeps its ports and
/// its data. After a restart, [`Cluster::ready`] waits until the API server serves again.
pub struct Cluster {
    // In the order of dropping: clients of a component before the component, the files last.
    /// kube-controller-manager.
    pub controller_manager: Process,
    /// kube-apiserver.
    pub api_server: Process,
    /// etcd.
    pub etcd: Process,
    authority: Authority,
    names: ServingNames,
    accounts: Pair,
    options: Options,
    kubectl: PathBuf,
    server: String,
    etcd_address: SocketAddr,
    admin: Client,
    admin_kubeconfig: PathBuf,
    clients: AtomicU32,
    dir: ClusterDir,
}

impl Cluster {
    /// Starts all components and waits until requests are served and signed.
    pub async fn start(assets: &Assets, options: Options) -> Result<Self> {
        let dir = ClusterDir::create()?;
        let authority = Authority::create(dir.path())?;
        let [etcd_port, peer_port, port] = ports::free()?;
        let host = match options.advertise {
            Some(address) if !options.loopback => address,
            _ => Ipv4Addr::LOCALHOST,
        };
        let server = format!("https://{host}:{port}");
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");

        let admin_pair = authority.client("admin", "kubernetes-admin", &["system:masters"])?;
        let admin_kubeconfig = authority.kubeconfig("admin", &server, &admin_pair)?;

        let names = ServingNames::of(&options)?;
        let serving = names.certificate(&authority, API_SERVER)?;
        let accounts = authority.service_account_key("sa")?;
        let etcd = components::etcd(assets, dir.path(), &etcd_url, peer_port);
        let api_server = components::api_server(
            assets,
            dir.path(),
            &options,
            &authority,
            &ApiServer {
                name: "kube-apiserver",
                serving: &serving,
                accounts: &accounts,
                etcd_url: &etcd_url,
                port,
            },
        )?;
        let controller_manager = components::controller_manager(
            assets,
            dir.path(),
            &options,
            &authority,
            &admin_kubeconfig,
        );

        let mut cluster = Self {
            etcd: Process::spawn(etcd)?,
            api_server: Process::spawn(api_server)?,
            controller_manager: Process::spawn(controller_manager)?,
            admin: client(&admin_kubeconfig).await?,
            authority,
            names,
            accounts,
            options: options.clone(),
            kubectl: assets.kubectl.clone(),
            server,
            etcd_address: SocketAddr::from((Ipv4Addr::LOCALHOST, etcd_port)),
            admin_kubeconfig,
            clients: AtomicU32::new(0),
            dir,
        };
        cluster.ready(START_DEADLINE).await?;
        if options.signer {
            let admin = cluster.admin();
            signer_readiness::ready(&admin, START_DEADLINE)
                .await
                .with_context(|| format!("signer\n{}", cluster.controller_manager.log_tail()))?;
        } else {
            cluster.controller_manager.kill()?;
        }
        Ok(cluster)
    }

    /// Waits for a successful `/readyz` of the API server, which includes etcd.
    pub async fn ready(&mut self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.etcd.must_run()?;
            self.api_server.must_run()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            // A paused API server accepts connections and never responds.
            let answer = self.admin.request_text(request);
            let error = match tokio::time::timeout(Duration::from_secs(2), answer).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer within 2 s".into(),
            };
            if begun.elapsed() > deadline {
                let log = self.api_server.log_tail();
                bail!("API server not ready after {deadline:?}: {error}\n{log}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns an HTTPS client for the API server that trusts the cluster's CA.
    pub fn https(&self) -> Result<Https> {
        let address = self.server.trim_start_matches("https://").parse()?;
        Https::new(address, &self.authority.pair().cert)
    }

    /// Returns the directory with logs, certificates and kubeconfig files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the certificate authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns a client with all permissions.
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// Returns the kubeconfig file of [`Cluster::admin`].
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Returns a client with a client certificate of this user in at most two groups.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        client(&self.kubeconfig_for(user, groups)?).await
    }

    /// Returns an administrator's client that sends these headers, such as those of impersonation.
    pub async fn client_with(&self, headers: Vec<(HeaderName, HeaderValue)>) -> Result<Client> {
        let mut config = config(&self.admin_kubeconfig).await?;
        config.headers = headers;
        Ok(Client::try_from(config)?)
    }

    /// Writes a kubeconfig file with a client certificate of this user in at most two groups.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let name = self.fresh_name();
        let pair = self.authority.client(&name, user, groups)?;
        self.authority.kubeconfig(&name, &self.server, &pair)
    }

    /// Writes a kubeconfig file with a bearer token.
    pub fn kubeconfig_for_token(&self, token: &str) -> Result<PathBuf> {
        self.authority
            .kubeconfig_for_token(&self.fresh_name(), &self.server, token)
    }

    /// Requests a token of an existing ServiceAccount.
    pub async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let token = ["create", "token", account, "-n", namespace];
        Ok(self.kubectl(&token).await?.trim().to_owned())
    }

    /// Returns the value of a key in an existing ConfigMap.
    pub async fn config_map(&self, namespace: &str, name: &str, key: &str) -> Result<String> {
        let path = format!("jsonpath={{.data.{}}}", key.replace('.', "\\."));
        let args = ["get", "configmap", name, "-n", namespace, "-o", &path];
        self.kubectl(&args).await
    }

    fn fresh_name(&self) -> String {
        format!("client-{}", self.clients.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the sum of the API server's metrics whose name and labels have this prefix, or 0
    /// without any.
    pub async fn metric(&self, series: &str) -> Result<u64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.admin.request_text(request).await?;
        Ok(metrics::total(&text, series))
    }

    /// Replaces the API server's serving certificate by another one of the same CA and names. The
    /// API server reloads the file when it notices the change.
    pub fn rotate_certificate(&self) -> Result<Pair> {
        self.names.certificate(&self.authority, API_SERVER)
    }

    /// Starts another API server of this cluster, at this address and the port of the first one. Its
    /// serving certificate has these names besides those of the Service and its address. The first one must
    /// not listen on all addresses.
    pub fn start_api_server(
        &self,
        assets: &Assets,
        address: Ipv4Addr,
        extra_sans: Vec<String>,
    ) -> Result<Process> {
        let options = Options {
            advertise: Some(address),
            extra_sans,
            api_server_args: vec![format!("--bind-address={address}")],
            ..self.options.clone()
        };
        let name = format!("kube-apiserver-{address}");
        let names = ServingNames::of(&options)?;
        let serving = names.certificate(&self.authority, &name)?;
        let server: SocketAddr = self.server.trim_start_matches("https://").parse()?;
        let server = ApiServer {
            name: &name,
            serving: &serving,
            accounts: &self.accounts,
            etcd_url: &format!("http://{}", self.etcd_address),
            port: server.port(),
        };
        let launch =
            components::api_server(assets, self.dir(), &options, &self.authority, &server)?;
        Process::spawn(launch)
    }

    /// Returns the etcd of the API server.
    pub fn etcd_store(&self) -> Store {
        Store::at(self.etcd_address)
    }

    /// Returns the path of kubectl.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// Runs kubectl as administrator and returns its stdout. A nonzero exit code is an error.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.succeeds(args, "").await
    }

    async fn succeeds(&self, args: &[&str], stdin: &str) -> Result<String> {
        let output = self.kubectl_output(args, stdin).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {args:?}: {}\n{stderr}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Applies manifests.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.succeeds(&["apply", "-f", "-"], manifests).await?;
        Ok(())
    }

    /// Deletes the objects in manifests.
    pub async fn delete(&self, manifests: &str) -> Result<()> {
        self.succeeds(&["delete", "-f", "-"], manifests).await?;
        Ok(())
    }

    /// Runs kubectl as administrator with this text on stdin, and returns its output with any exit
    /// code.
    pub async fn kubectl_output(&self, args: &[&str], stdin: &str) -> Result<Output> {
        // A file needs no writer while the output is read, unlike a pipe.
        let input = self.dir().join(format!("stdin-{}", self.fresh_name()));
        std::fs::write(&input, stdin)?;
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(&self.admin_kubeconfig)
            .arg("--cache-dir")
            .arg(self.dir().join("kubectl-cache"))
            .args(args)
            .stdin(Stdio::from(std::fs::File::open(input)?));
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }
}

/// Connects with a kubeconfig file.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(config)
}
