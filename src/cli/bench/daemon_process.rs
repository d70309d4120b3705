//! csr-daemon under measurement: a process of its own, of this program or another.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::{Client, Config};
use tokio::time::sleep;

use super::super::target::ClusterArgs;
use crate::telemetry::process;

/// Between two looks at whether it is ready.
const READY_POLL: Duration = Duration::from_millis(5);
/// Between two looks at what it has written, at least and at most: each look costs it some work.
const MIN_POLL: Duration = Duration::from_millis(25);
const MAX_POLL: Duration = Duration::from_millis(500);
/// How long it may take to become ready, or to write one more condition.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The conditions that it has written, in its metrics.
const WRITTEN: &str = "csr_warden_writes_total{result=\"written\"} ";

/// Which program it is, and how it reaches the cluster.
pub(super) struct Launch {
    program: PathBuf,
    credentials: Vec<OsString>,
}

impl Launch {
    /// This program, unless another is given.
    pub(super) fn new(program: Option<&Path>, cluster: &ClusterArgs) -> Result<Launch> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().context("cannot tell where this program is")?,
        };
        Ok(Launch {
            program,
            credentials: cluster.words(),
        })
    }
}

/// A running daemon. Dropping it kills it: it holds no Lease.
pub(super) struct DaemonProcess {
    child: Child,
    http: Client,
    started: Instant,
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DaemonProcess {
    /// Starts it with the default policy, unelected.
    pub(super) fn start(launch: &Launch, concurrency: u16) -> Result<DaemonProcess> {
        let address = free_port()?;
        let child = Command::new(&launch.program)
            .arg("run")
            .args(&launch.credentials)
            .args(["--leader-elect=false", "--policy=default"])
            .args(["--log-format=text", "--log-level=error"])
            .arg(format!("--bind-address={address}"))
            .arg(format!("--concurrency={concurrency}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{}`", launch.program.display()))?;
        let mut config = Config::new(format!("http://{address}").parse()?);
        // Not being ready yet is an answer.
        config.default_retry = false;
        Ok(DaemonProcess {
            child,
            http: Client::try_from(config)?,
            started: Instant::now(),
        })
    }

    /// Waits until it is ready; how long that took since it was started.
    pub(super) async fn ready(&mut self) -> Result<Duration> {
        while self.get("/readyz").await.is_none() {
            self.must_run()?;
            if self.started.elapsed() > TIMEOUT {
                bail!("csr-warden is not ready after {} s", TIMEOUT.as_secs());
            }
            sleep(READY_POLL).await;
        }
        Ok(self.started.elapsed())
    }

    /// Waits until it has written so many conditions. How long it took to be ready, and from the last
    /// look at which it had written none to the first at which it had written all.
    pub(super) async fn drains(&mut self, count: usize) -> Result<(Duration, Duration)> {
        let mut idle = None;
        let mut ready_after = None;
        let mut last = (0, Instant::now());
        loop {
            let asked = Instant::now();
            let written = self.written().await?;
            let looked = Instant::now();
            let began = match written {
                Some(0) => *idle.insert(asked),
                // Whoever has never been seen idle has written since it was started.
                Some(_) => *idle.get_or_insert(self.started),
                None => looked,
            };
            if ready_after.is_none() && self.get("/readyz").await.is_some() {
                ready_after = Some(self.started.elapsed());
            }
            let written = written.unwrap_or_default();
            if written >= count {
                let ready_after = ready_after.unwrap_or(began - self.started);
                return Ok((ready_after, (looked - began).max(MIN_POLL)));
            }
            if written > last.0 {
                last = (written, looked);
            }
            self.must_run()?;
            if last.1.elapsed() > TIMEOUT {
                bail!(
                    "csr-warden has written {written} of {count} conditions, and no other for {} s",
                    TIMEOUT.as_secs()
                );
            }
            let pause = pause(looked - began, written, count);
            sleep(if ready_after.is_none() {
                READY_POLL
            } else {
                pause
            })
            .await;
        }
    }

    /// `None` as long as it does not answer.
    async fn written(&self) -> Result<Option<usize>> {
        let Some(metrics) = self.get("/metrics").await else {
            return Ok(None);
        };
        let value = metrics.lines().find_map(|line| line.strip_prefix(WRITTEN));
        let value = value.map_or(Ok(0), |value| {
            value.parse().with_context(|| format!("{WRITTEN}{value}"))
        });
        value.map(Some)
    }

    /// The body of what is answered with 200.
    async fn get(&self, path: &str) -> Option<String> {
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        self.http.request_text(request).await.ok()
    }

    fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("csr-warden has ended: {status}");
        }
        Ok(())
    }

    /// Its resident memory in KiB, where the system tells.
    pub(super) fn resident_kib(&self) -> Option<u64> {
        process::memory_kib(&self.process(), "VmRSS:")
    }

    /// The most that it ever had.
    pub(super) fn peak_kib(&self) -> Option<u64> {
        process::memory_kib(&self.process(), "VmHWM:")
    }

    /// The processor time that it has used.
    pub(super) fn processor(&self) -> Option<Duration> {
        process::cpu_time(&self.process())
    }

    fn process(&self) -> String {
        self.child.id().to_string()
    }
}

/// How long not to look: half of what it needs for the rest, if it goes on as before.
fn pause(took: Duration, written: usize, count: usize) -> Duration {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let left = took.saturating_mul(number(count - written)) / number(written).max(1);
    (left / 2).clamp(MIN_POLL, MAX_POLL)
}

/// A port of this machine that nobody has. Somebody could take it before it is used; then the
/// daemon says so.
fn free_port() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .context("no free port")
}
