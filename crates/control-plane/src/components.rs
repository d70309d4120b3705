//! The processes of a control plane with their flags, and the names of its API server.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, Result};
use ipnet::IpNet;

use super::assets::Assets;
use super::options::Options;
use super::pki::{Authority, Pair};
use super::process::Launch;
use super::workload_flags;

/// The names in the API server's serving certificate.
pub(super) struct ServingNames {
    dns: Vec<String>,
    ips: Vec<IpAddr>,
}

impl ServingNames {
    /// Returns the names for these options.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let service_ip = |network: &str| {
            let network: IpNet = network.parse().context("service_cidr")?;
            network
                .hosts()
                .next()
                .context("service_cidr has no address")
        };
        let networks = options.service_cidr.split(',');
        let mut dns: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .map(String::from)
            .into();
        dns.push(format!("kubernetes.default.svc.{}", options.cluster_domain));
        let mut ips: Vec<IpAddr> = networks.map(service_ip).collect::<Result<_>>()?;
        if options.loopback {
            dns.push("localhost".into());
            ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        ips.extend(options.advertise.map(IpAddr::V4));
        for san in &options.extra_sans {
            match san.parse() {
                Ok(ip) => ips.push(ip),
                Err(_) => dns.push(san.clone()),
            }
        }
        Ok(Self { dns, ips })
    }

    /// Signs a certificate with these names, in the files that the API server of this name reads.
    pub(super) fn certificate(&self, authority: &Authority, server: &str) -> Result<Pair> {
        authority.serving(server, &self.dns, &self.ips)
    }
}

/// Returns the launch of etcd, with clients at this URL.
pub(super) fn etcd(assets: &Assets, dir: &Path, url: &str, peer_port: u16) -> Launch {
    let peer = format!("http://127.0.0.1:{peer_port}");
    Launch::new("etcd", &assets.etcd, dir).args([
        format!("--data-dir={}", dir.join("etcd").display()),
        "--unsafe-no-fsync".into(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".into(),
    ])
}

/// The files and addresses of a kube-apiserver.
pub(super) struct ApiServer<'a> {
    /// The name of the process.
    pub(super) name: &'a str,
    /// Its serving certificate.
    pub(super) serving: &'a Pair,
    /// The key of service account tokens, which all API servers of a cluster share.
    pub(super) accounts: &'a Pair,
    pub(super) etcd_url: &'a str,
    pub(super) port: u16,
}

/// Returns the launch of kube-apiserver.
pub(super) fn api_server(
    assets: &Assets,
    dir: &Path,
    options: &Options,
    authority: &Authority,
    server: &ApiServer<'_>,
) -> Result<Launch> {
    let ApiServer {
        name,
        serving,
        accounts,
        etcd_url,
        port,
    } = server;
    let (bind, advertise, reconciler) = match options.advertise {
        Some(address) => (Ipv4Addr::UNSPECIFIED, address, "lease"),
        None => (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, "none"),
    };
    let admission = if options.node_restriction {
        "enable"
    } else {
        "disable"
    };
    let launch = Launch::new(name, &assets.api_server, dir).args([
        format!("--etcd-servers={etcd_url}"),
        format!("--bind-address={bind}"),
        format!("--advertise-address={advertise}"),
        format!("--endpoint-reconciler-type={reconciler}"),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", serving.cert.display()),
        format!("--tls-private-key-file={}", serving.key.display()),
        format!("--client-ca-file={}", authority.pair().cert.display()),
        "--authorization-mode=Node,RBAC".into(),
        format!("--{admission}-admission-plugins=NodeRestriction"),
        format!("--service-cluster-ip-range={}", options.service_cidr),
        format!(
            "--service-account-issuer=https://kubernetes.default.svc.{}",
            options.cluster_domain
        ),
        format!("--service-account-key-file={}", accounts.cert.display()),
        format!(
            "--service-account-signing-key-file={}",
            accounts.key.display()
        ),
        format!("--cert-dir={}", dir.join(format!("{name}-certs")).display()),
    ]);
    let verifies = options.verify_kubelets.then(|| {
        let ca = authority.pair().cert;
        format!("--kubelet-certificate-authority={}", ca.display())
    });
    let launch = launch.args(verifies);
    let launch = launch.args(workload_flags::api_server(
        options.workloads,
        authority,
        dir,
    )?);
    Ok(launch.args(options.api_server_args.iter().map(String::as_str)))
}

/// Returns the launch of kube-controller-manager with the signer.
pub(super) fn controller_manager(
    assets: &Assets,
    dir: &Path,
    options: &Options,
    authority: &Authority,
    kubeconfig: &Path,
) -> Launch {
    let ca = authority.pair();
    let launch = Launch::new("kube-controller-manager", &assets.controller_manager, dir).args([
        // An administrator's kubeconfig. The controller-manager's own user may not write a
        // request's status.
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
        format!("--cluster-signing-cert-file={}", ca.cert.display()),
        format!("--cluster-signing-key-file={}", ca.key.display()),
        workload_flags::controllers(options.workloads),
        // The default limits the signer to 20 requests a second, which tests would then measure.
        "--kube-api-qps=2000".into(),
        "--kube-api-burst=2000".into(),
    ]);
    let launch = launch.args(workload_flags::controller_manager(
        options.workloads,
        authority,
    ));
    launch.args(
        options
            .signing_duration
            .iter()
            .map(|d| format!("--cluster-signing-duration={d}")),
    )
}
