//! Standard output of the daemon that is not read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use control_plane::POLL_INTERVAL;
use control_plane::daemon::Daemon;
use k8s_openapi::ByteString;
use kube::Client;
use lab::request::Template;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Expectations, Measured, run_scenario};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};

const SOON: Duration = Duration::from_secs(60);
/// The number of requests of the node that changes all the time: as many as are kept of it.
const REQUESTS: usize = 32;
/// The size of a pipe, in bytes: after it a write blocks.
const PIPE: usize = 64 * 1024;

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "embedded_stdout_unread",
        "nobody reads stdout, while a node with 32 waiting requests changes all the time: no line of a written decision is lost",
        stdout_unread,
    )]
}

/// A reader of a FIFO that can pause.
struct Reader {
    path: PathBuf,
    paused: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<String>>,
}

impl Reader {
    fn start(dir: &Path) -> Result<Self> {
        let path = dir.join("stdout");
        let made = Command::new("mkfifo").arg(&path).status()?;
        ensure!(made.success(), "mkfifo: {made}");
        let paused = Arc::new(AtomicBool::new(false));
        let (fifo, waits) = (path.clone(), paused.clone());
        let thread = std::thread::spawn(move || {
            let mut fifo = File::open(fifo)?;
            let (mut text, mut part) = (Vec::new(), vec![0; PIPE]);
            loop {
                while waits.load(Ordering::Relaxed) {
                    std::thread::park_timeout(POLL_INTERVAL);
                }
                match fifo.read(&mut part)? {
                    0 => return String::from_utf8(text).map_err(std::io::Error::other),
                    count => text.extend_from_slice(&part[..count]),
                }
            }
        });
        Ok(Self {
            path,
            paused,
            thread,
        })
    }

    fn pause(&self, is_paused: bool) {
        self.paused.store(is_paused, Ordering::Relaxed);
    }

    /// Returns all lines, when the daemon has exited.
    fn lines(self) -> Result<Vec<Value>> {
        let text = self.thread.join().map_err(|_| anyhow!("the reader"))??;
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().context("a line of JSON")
    }
}

async fn stdout_unread(scale: Scale) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    let reader = Reader::start(test_cluster.dir())?;
    let to = reader.path.display();
    test_cluster.start_by(format!("exec \"$0\" \"$@\" >'{to}'"));
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let during = async |test_cluster: &mut TestCluster, lasts: Duration| {
        reader.pause(true);
        let daemon = &test_cluster.replicas[0];
        let written = daemon.written().await?;
        let changes = change_until_over_budget(&admin, daemon).await?;
        sleep(lasts).await;
        let alive = daemon.http_get("/livez").await?;
        ensure!(alive.status == 200, "{alive:?} after {changes} changes");
        ensure!(daemon.is_leader().await?, "leadership was lost");
        // Approvals and denials go on.
        let begun = Instant::now();
        while daemon.written().await? == written {
            ensure!(begun.elapsed() < SOON, "nothing is written");
            sleep(POLL_INTERVAL).await;
        }
        reader.pause(false);
        Ok(())
    };
    let expectations = Expectations::default();
    let mut seen =
        run_scenario(&mut test_cluster, &scale, scale.fault, expectations, during).await?;
    let lines = reader.lines()?;
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let decided: BTreeSet<String> = lines
        .iter()
        .filter(|line| matches!(line["verdict"].as_str(), Some("Approve" | "Deny")))
        .map(|line| text(line, "request"))
        .collect();
    for (name, _, _) in test_cluster.writes()? {
        ensure!(decided.contains(&name), "no line about {name}");
    }
    let loud = lines.iter().filter(|line| text(line, "node") == loud());
    seen.note = format!("{} lines, of the node {}", lines.len(), loud.count());
    Ok(seen)
}

fn loud() -> String {
    format!("{ATTACKER_PREFIX}loud")
}

/// Makes requests that wait, and changes the Node until lines of it are dropped. Returns the number of
/// changes.
async fn change_until_over_budget(admin: &Client, daemon: &Daemon) -> Result<usize> {
    let node = loud();
    let address = "10.66.99.1".parse()?;
    let other = "10.66.99.2".parse()?;
    for _ in 0..REQUESTS {
        let template = Template::genuine(&node, std::slice::from_ref(&node), &[address, other]);
        let request = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {
                "request": ByteString(template.pem(&KeyPair::generate()?)?.into_bytes()),
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
            },
        });
        let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let request = http::Request::post(requests)
            .header("impersonate-user", format!("system:node:{node}"))
            .header("impersonate-group", "system:nodes")
            .header("content-type", "application/json")
            .body(request.to_string().into_bytes())?;
        admin.request::<Value>(request).await.context("a request")?;
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.66.99.1"}]},
    });
    let begun = Instant::now();
    let mut changes = 0;
    while daemon
        .metric("csr_warden_log_lines_lost_total{reason=\"budget\"}")
        .await?
        == 0
    {
        ensure!(
            begun.elapsed() < SOON,
            "not over budget after {changes} changes"
        );
        let created = http::Request::post("/api/v1/nodes")
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        admin.request::<Value>(created).await.context("a Node")?;
        sleep(POLL_INTERVAL).await;
        let deleted = http::Request::delete(format!("/api/v1/nodes/{node}")).body(Vec::new())?;
        admin.request::<Value>(deleted).await.context("deletion")?;
        sleep(POLL_INTERVAL).await;
        changes += 2;
    }
    Ok(changes)
}
