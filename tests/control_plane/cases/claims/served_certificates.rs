//! Claims of equal rank: all were there when the daemon started, and no request with a certificate is
//! left. So the certificates decide that kubelets serve.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::ListParams;
use tokio::time::interval;

use super::END;
use crate::cases::test_cluster::{SOON, TestCluster};
use control_plane::assets::Assets;
use control_plane::daemon::Daemon;
use control_plane::decision_log::{self, Decision};
use control_plane::kubelet_port::KubeletPort;
use control_plane::netns;
use control_plane::node_user::{NodeUser, has_no_conditions, issued};
use control_plane::pki::Authority;

/// The port of the default policy.
const PORT: u16 = 10_250;
/// The address of the honest node, which all claim.
const CONTESTED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
/// The liars' own addresses.
const OLD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 51);
const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 52);
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 53);
/// The pause between two changes of a liar's claim.
const CHANGE: Duration = Duration::from_secs(1);
/// The number of renewals while a liar drops its claim and claims again.
const RENEWALS: usize = 4;

/// A node whose kubelet serves a certificate.
struct Honest {
    user: NodeUser,
    chain: Vec<u8>,
    key: String,
}

impl Honest {
    async fn listen(&self) -> Result<KubeletPort> {
        KubeletPort::start(at(CONTESTED), &self.chain, &self.key, true).await
    }
}

/// A node that claims the honest node's address, beside one of its own, where its port is.
struct Liar {
    user: NodeUser,
    own: Ipv4Addr,
    _port: KubeletPort,
}

impl Liar {
    async fn claim(&self, claims: bool) -> Result<()> {
        let contested = claims.then_some(CONTESTED);
        let ips = [self.own].into_iter().chain(contested);
        let ips = ips.map(|ip| format!("InternalIP {ip}"));
        let hostname = format!("Hostname {}", self.user.name);
        let addresses: Vec<String> = [hostname].into_iter().chain(ips).collect();
        self.user.report(&addresses).await
    }
}

struct Contest {
    test: TestCluster,
    honest: Honest,
}

pub async fn decide_claims(assets: Arc<Assets>) -> Result<()> {
    for address in [CONTESTED, OLD, FOREIGN, SILENT] {
        netns::add(address)?;
    }
    let test = TestCluster::new(&assets).await?;
    // The contested address was this one's before, and so its certificate has it.
    let former = test
        .node("former", &[&OLD.to_string(), &CONTESTED.to_string()])
        .await?;
    let (chain, key) = test
        .certificate(&former, "former", &["former"], &[OLD, CONTESTED])
        .await?;
    let former = Liar {
        user: former,
        own: OLD,
        _port: KubeletPort::start(at(OLD), &chain, &key, true).await?,
    };
    former.claim(false).await?;
    let foreign = Liar {
        user: test.node("foreign", &[&FOREIGN.to_string()]).await?,
        own: FOREIGN,
        _port: foreign_port().await?,
    };
    let silent = Liar {
        user: test.node("silent", &[&SILENT.to_string()]).await?,
        own: SILENT,
        _port: KubeletPort::silent(at(SILENT)).await?,
    };
    // After at least a second: its certificate is newer.
    let user = test.node("honest", &[&CONTESTED.to_string()]).await?;
    let (chain, key) = test
        .certificate(&user, "honest", &["honest"], &[CONTESTED])
        .await?;
    let contest = Contest {
        test,
        honest: Honest { user, chain, key },
    };

    let port = contest.honest.listen().await?;
    for liar in [&former, &foreign, &silent] {
        let lost = contest.liar_loses(liar).await;
        lost.with_context(|| format!("beside {}", liar.user.name))?;
    }
    port.close().await;
    contest.silence_gives_nothing(&former).await
}

fn at(ip: Ipv4Addr) -> SocketAddr {
    (ip, PORT).into()
}

/// The port of a liar whose certificate has the contested address, and another CA.
async fn foreign_port() -> Result<KubeletPort> {
    let dir = tempfile::tempdir()?;
    let names = ["foreign".to_owned()];
    let ips = [FOREIGN.into(), CONTESTED.into()];
    let authority = Authority::create(dir.path())?;
    let pair = authority.serving("system:node:foreign", &names, &ips)?;
    let (chain, key) = (
        std::fs::read(pair.cert)?,
        std::fs::read_to_string(pair.key)?,
    );
    KubeletPort::start(at(FOREIGN), &chain, &key, true).await
}

impl Contest {
    /// Starts a daemon that has seen neither the order of the claims nor a certificate.
    async fn start(&self) -> Result<Daemon> {
        self.test
            .cluster
            .kubectl(&["delete", "csr", "--all"])
            .await?;
        let api: Api<CertificateSigningRequest> = Api::all(self.test.admin.clone());
        let left = api.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "expected no request, found {left:?}");
        let mut daemon = self.test.installation.start("csr-warden", &[])?;
        daemon.wait_ready(SOON).await?;
        Ok(daemon)
    }

    async fn ask_as_honest(&self, request: &str) -> Result<()> {
        let ip = CONTESTED.to_string();
        self.test.ask(&self.honest.user, request, &[&ip]).await
    }

    async fn ask_as_liar(&self, liar: &Liar) -> Result<String> {
        let request = format!("{}-asks", liar.user.name);
        let ips = [liar.own.to_string(), CONTESTED.to_string()];
        let ips = [&*ips[0], &*ips[1]];
        self.test.ask(&liar.user, &request, &ips).await?;
        Ok(request)
    }

    async fn renew(&self, request: &str) -> Result<()> {
        let begun = Instant::now();
        self.ask_as_honest(request).await?;
        self.test.is_approved(request).await?;
        eprintln!("{request}: approved after {:.0?}", begun.elapsed());
        issued(&self.test.admin, request).await?;
        Ok(())
    }

    /// Checks that a request has no condition and that the daemon never meant to write one.
    async fn is_undecided(&self, daemon: &Daemon, request: &str) -> Result<()> {
        let api: Api<CertificateSigningRequest> = Api::all(self.test.admin.clone());
        let found = api.get(request).await?;
        ensure!(has_no_conditions(&found), "{request}: {:?}", found.status);
        let said = decision_log::of(daemon.stdout(), request);
        let waits = |decision: &Decision| decision.verdict == "Wait";
        ensure!(said.iter().all(waits), "{said:?}");
        Ok(())
    }

    /// The honest node renews, at its first request and while the liar drops its claim and claims again,
    /// also over a restart. The liar waits.
    async fn liar_loses(&self, liar: &Liar) -> Result<()> {
        let name = &liar.user.name;
        liar.claim(true).await?;
        let mut daemon = self.start().await?;
        let request = format!("honest-beside-{name}");
        self.renew(&request).await?;
        // The first judgment had no certificate to go by.
        let said = decision_log::of(daemon.stdout(), &request);
        let said: Vec<(&str, &[String])> = said
            .iter()
            .map(|decision| (&*decision.verdict, &*decision.codes))
            .collect();
        let contested = ["SanContested".to_owned()];
        ensure!(
            said == [("Wait", &contested[..]), ("Approve", &[])],
            "{request}: {said:?}"
        );

        let asked = self.ask_as_liar(liar).await?;
        self.test.waits(&daemon, &asked, &["SanContested"]).await?;
        let both = ["Node honest", &format!("Node {name}"), "was not observed"];
        self.test.is_reported(&asked, &both).await?;
        self.is_undecided(&daemon, &asked).await?;
        daemon.sigterm(END).await?;

        let is_over = Cell::new(false);
        let keep_changing = async {
            let mut ticks = interval(CHANGE);
            let mut claims = false;
            while !is_over.get() {
                ticks.tick().await;
                liar.claim(claims).await?;
                claims = !claims;
            }
            anyhow::Ok(())
        };
        let renew = async {
            let mut daemon = self.start().await?;
            let mut ticks = interval(CHANGE);
            for number in 0..RENEWALS {
                ticks.tick().await;
                self.renew(&format!("{request}-again-{number}")).await?;
            }
            is_over.set(true);
            daemon.sigterm(END).await
        };
        tokio::try_join!(keep_changing, renew)?;
        liar.claim(false).await
    }

    /// The honest node's kubelet does not answer, and the liar shows the only certificate with the address.
    /// Both wait. The honest node gets the address once its kubelet answers again.
    async fn silence_gives_nothing(&self, liar: &Liar) -> Result<()> {
        liar.claim(true).await?;
        let port = KubeletPort::silent(at(CONTESTED)).await?;
        let mut daemon = self.start().await?;
        let asked = self.ask_as_liar(liar).await?;
        self.ask_as_honest("honest-silent").await?;
        for request in [&*asked, "honest-silent"] {
            let waits = self.test.waits(&daemon, request, &["SanContested"]);
            waits.await?;
        }
        // A second question follows only when the first one was judged to be without an answer.
        port.accepted(2, SOON).await?;
        for request in [&*asked, "honest-silent"] {
            self.is_undecided(&daemon, request).await?;
        }
        port.close().await;
        let _port = self.honest.listen().await?;
        self.test.is_approved("honest-silent").await?;
        self.is_undecided(&daemon, &asked).await?;
        daemon.sigterm(END).await?;
        self.is_undecided(&daemon, &asked).await
    }
}
