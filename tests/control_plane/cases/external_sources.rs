//! External sources that are queried only when a request depends on them: a real DNS server, and
//! kubelet ports with certificates from the real signer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::test_cluster::{SOON, TestCluster};
use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::kubelet_port::{KubeletPort, request};
use control_plane::node_user::{NewRequest, issued};
use control_plane::process::{Launch, Process};
use control_plane::{netns, ports};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("sources_dns", Needs::Nothing, dns),
        Case::new(
            "sources_serving_certificate",
            Needs::OwnNetwork,
            certificate,
        ),
    ]
}

/// A dnsmasq server with the names in its hosts file.
pub struct DnsServer {
    process: Process,
    hosts: PathBuf,
    pub address: SocketAddr,
}

impl DnsServer {
    pub fn start(dir: &Path) -> Result<DnsServer> {
        let [port] = ports::free::<1>()?;
        let hosts = dir.join("hosts");
        std::fs::write(&hosts, "")?;
        let hosts_flag = format!("--addn-hosts={}", hosts.display());
        let port_flag = format!("--port={port}");
        let program = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .context("dnsmasq is missing (Debian: dnsmasq-base)")?;
        let launch = Launch::new("dnsmasq", Path::new(program), dir).args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--local=/example/",
            "--local-ttl=5",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            // So that a response with many addresses comes by TCP.
            "--edns-packet-max=512",
            &hosts_flag,
            &port_flag,
        ]);
        Ok(DnsServer {
            process: Process::spawn(launch)?,
            hosts,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// Replaces the names. Each line is `ADDRESS NAME`.
    pub fn knows(&self, lines: &str) -> Result<()> {
        std::fs::write(&self.hosts, lines)?;
        self.process.signal(Signal::SIGHUP)
    }
}

fn policy(server: SocketAddr, reverse: &str) -> String {
    let dns = json!({
        "servers": [server.to_string()],
        "suffixes": ["nodes.example"],
        "timeout": "1s",
        "reverse": reverse,
    });
    whole(
        &json!({"dns": dns}),
        &json!({"ipAddresses": {"allOf": ["DNS"]}, "dnsNames": {"allOf": ["DNS"]}}),
    )
}

fn whole(sources: &Value, proof: &Value) -> String {
    json!({
        "apiVersion": "csr-warden.dev/v1beta1",
        "kind": "Policy",
        "metadata": {"name": "asked"},
        "spec": {"sources": sources, "proof": proof},
    })
    .to_string()
}

async fn dns(assets: Arc<Assets>) -> Result<()> {
    let test_cluster = TestCluster::new(&assets).await?;
    let dir = test_cluster.cluster.dir();
    let mut server = DnsServer::start(dir)?;
    let file = dir.join("dns.yaml");
    std::fs::write(&file, policy(server.address, "Optional"))?;
    let path = file.to_str().context("a path that is no text")?;
    let mut daemon = test_cluster
        .installation
        .start("csr-warden", &["--policy", path])?;
    daemon.wait_ready(SOON).await?;

    // First missing, then present.
    let user = test_cluster.node("n1", &["10.0.0.1"]).await?;
    test_cluster.ask(&user, "late", &["10.0.0.1"]).await?;
    test_cluster
        .waits(&daemon, "late", &["SanUncorroborated"])
        .await?;
    server.knows("10.0.0.1 n1.nodes.example\n")?;
    test_cluster.is_approved("late").await?;

    // The attack that succeeds under the default policy: an address that no node claims.
    let thief = test_cluster.node("n2", &["10.0.0.2", "10.0.0.77"]).await?;
    server.knows("10.0.0.1 n1.nodes.example\n10.0.0.2 n2.nodes.example\n")?;
    let asked = ["10.0.0.2", "10.0.0.77"];
    test_cluster.ask(&thief, "stolen", &asked).await?;
    test_cluster
        .waits(&daemon, "stolen", &["SanUncorroborated"])
        .await?;

    // A contradiction.
    let liar = test_cluster.node("n3", &["10.0.0.3"]).await?;
    server.knows("10.0.0.9 n3.nodes.example\n10.0.0.4 n4.nodes.example\n")?;
    test_cluster
        .ask(&liar, "contradicted", &["10.0.0.3"])
        .await?;
    test_cluster
        .is_denied(&daemon, "contradicted", &["SanContradicted"])
        .await?;

    // Frozen, then resumed: a request waits with the reason, and none is denied.
    let patient = test_cluster.node("n4", &["10.0.0.4"]).await?;
    server.process.pause()?;
    test_cluster.ask(&patient, "frozen", &["10.0.0.4"]).await?;
    test_cluster
        .waits(&daemon, "frozen", &["SourceUnready"])
        .await?;
    let errors = "csr_warden_source_errors_total{source=\"dns\"}";
    daemon
        .wait_for_log("the DNS query for n4.nodes.example", SOON)
        .await?;
    ensure!(
        daemon.metric(errors).await? > 0,
        "the failure is not counted"
    );
    server.process.resume()?;
    test_cluster.is_approved("frozen").await?;

    // Stopped, then restarted.
    let gone = test_cluster.node("n6", &["10.0.0.6"]).await?;
    server.knows("10.0.0.6 n6.nodes.example\n10.0.0.7 n7.nodes.example\n")?;
    server.process.kill()?;
    test_cluster.ask(&gone, "gone", &["10.0.0.6"]).await?;
    test_cluster
        .waits(&daemon, "gone", &["SourceUnready"])
        .await?;
    server.process.start()?;
    test_cluster.is_approved("gone").await?;

    // Reverse lookup: from the address to the name.
    let fresh = dir.join("dns.yaml.new");
    std::fs::write(&fresh, policy(server.address, "Required"))?;
    std::fs::rename(fresh, &file)?;
    daemon.wait_for_log("policy reloaded", SOON).await?;
    let both = test_cluster.node("n7", &["10.0.0.7"]).await?;
    test_cluster.ask(&both, "reverse", &["10.0.0.7"]).await?;
    test_cluster.is_approved("reverse").await?;
    // More addresses than a datagram holds. This is last, since dnsmasq keeps a process for it that
    // also has its port.
    let many = test_cluster.node("n5", &["10.0.5.40"]).await?;
    let lines: String = (1..60)
        .map(|last| format!("10.0.5.{last} n5.nodes.example\n"))
        .collect();
    server.knows(&lines)?;
    test_cluster.ask(&many, "by-tcp", &["10.0.5.40"]).await?;
    test_cluster.is_approved("by-tcp").await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}

async fn certificate(assets: Arc<Assets>) -> Result<()> {
    let [one, two, three] = [20, 21, 22].map(|last| Ipv4Addr::new(10, 77, 0, last));
    for address in [one, two, three] {
        netns::add(address)?;
    }
    let [port] = ports::free::<1>()?;
    let test_cluster = TestCluster::new(&assets).await?;
    let dir = test_cluster.cluster.dir();
    let inventory = json!({
        "apiVersion": "csr-warden.dev/v1beta1",
        "kind": "Inventory",
        "patterns": [{"nodes": "n*", "networks": ["10.77.0.0/24"]}],
    });
    let policy = whole(
        &json!({"servingCertificate": {"port": port, "timeout": "2s"}}),
        &json!({
            "ipAddresses": {"allOf": ["Inventory"]},
            "dnsNames": {"anyOf": ["Inventory", "ServingCertificate"]},
        }),
    );
    let files = [("policy", policy), ("inventory", inventory.to_string())];
    let mut args = Vec::new();
    for (name, text) in files {
        let file = dir.join(name);
        std::fs::write(&file, text)?;
        args.push(format!("--{name}={}", file.display()));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut daemon = test_cluster.installation.start("csr-warden", &args)?;
    daemon.wait_ready(SOON).await?;

    // The first certificate: an administrator approves, and the signer signs.
    let user = test_cluster
        .node("n1", &[&one.to_string(), &two.to_string()])
        .await?;
    let name = "InternalDNS n1.other.example";
    let (both, only) = (
        [format!("InternalIP {one}"), format!("InternalIP {two}")],
        [format!("InternalIP {one}")],
    );
    user.report(&[&["Hostname n1".into(), name.into()], both.as_slice()].concat())
        .await?;
    let names = ["n1", "n1.other.example"];
    let (pem, key) = request("n1", &names, &[one, two])?;
    user.post(&NewRequest::new("first", pem)).await?;
    test_cluster
        .waits(&daemon, "first", &["SanUncorroborated", "SourceUnready"])
        .await?;
    daemon.wait_for_log("Connection refused", SOON).await?;
    test_cluster
        .cluster
        .kubectl(&["certificate", "approve", "first"])
        .await?;
    let chain = issued(&test_cluster.admin, "first").await?;

    // A renewal of the presented certificate, at the second address. The first one does not answer.
    let kubelet = KubeletPort::start((two, port).into(), &chain, &key, true).await?;
    let (pem, _) = request("n1", &names, &[one, two])?;
    user.post(&NewRequest::new("renewal", pem)).await?;
    test_cluster.is_approved("renewal").await?;
    drop(kubelet);

    // One with an additional name.
    let kubelet = KubeletPort::start((one, port).into(), &chain, &key, true).await?;
    let more = "InternalDNS n1.new.example";
    user.report(
        &[
            &["Hostname n1".into(), name.into(), more.into()],
            only.as_slice(),
        ]
        .concat(),
    )
    .await?;
    let (pem, _) = request("n1", &["n1", "n1.other.example", "n1.new.example"], &[one])?;
    user.post(&NewRequest::new("more", pem)).await?;
    test_cluster
        .waits(&daemon, "more", &["SanUncorroborated"])
        .await?;
    drop(kubelet);

    // The node gets another address, which its certificate does not have. It proves the other names.
    let kubelet = KubeletPort::start((three, port).into(), &chain, &key, true).await?;
    let new_address = format!("InternalIP {three}");
    user.report(&["Hostname n1".into(), name.into(), new_address])
        .await?;
    let (pem, _) = request("n1", &names, &[three])?;
    user.post(&NewRequest::new("new-address", pem)).await?;
    test_cluster.is_approved("new-address").await?;
    drop(kubelet);

    // The address now belongs to another node, and the first node still responds there: its claim never
    // denies.
    let other = test_cluster.node("n2", &[&two.to_string()]).await?;
    let name = "InternalDNS n2.other.example".to_owned();
    other
        .report(&["Hostname n2".into(), format!("InternalIP {two}"), name])
        .await?;
    let still = KubeletPort::start((two, port).into(), &chain, &key, true).await?;
    let (pem, _) = request("n2", &["n2", "n2.other.example"], &[two])?;
    other.post(&NewRequest::new("moved", pem)).await?;
    test_cluster
        .waits(&daemon, "moved", &["SanUncorroborated"])
        .await?;
    drop(still);

    // A certificate that is not signed by the cluster's CA proves nothing.
    let third = test_cluster.node("n3", &[&one.to_string()]).await?;
    user.report(&["Hostname n1"]).await?;
    let name = "InternalDNS n3.other.example".to_owned();
    third
        .report(&["Hostname n3".into(), format!("InternalIP {one}"), name])
        .await?;
    let own = rcgen::generate_simple_self_signed([one.to_string(), "n3.other.example".into()])?;
    let own_key = own.signing_key.serialize_pem();
    let _kubelet = KubeletPort::start(
        (one, port).into(),
        own.cert.pem().as_bytes(),
        &own_key,
        true,
    )
    .await?;
    let (pem, _) = request("n3", &["n3", "n3.other.example"], &[one])?;
    third.post(&NewRequest::new("self-signed", pem)).await?;
    test_cluster
        .waits(&daemon, "self-signed", &["SanUncorroborated"])
        .await?;
    daemon.sigterm(Duration::from_secs(5)).await?;
    Ok(())
}
