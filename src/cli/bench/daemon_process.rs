//! The csr-warden process that is measured.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::{Client, Config};
use tokio::time::sleep;

use super::super::cluster_args::ClusterArgs;
use crate::telemetry::process;

/// The interval of readiness checks.
const READY_POLL: Duration = Duration::from_millis(5);
/// The minimum and maximum interval of reading its metrics, each of which costs it some work.
const MIN_POLL: Duration = Duration::from_millis(25);
const MAX_POLL: Duration = Duration::from_millis(500);
/// The timeout for becoming ready, and for each further condition.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The time without a write after which the open requests are looked at. A write has 4 s.
const SETTLED: Duration = Duration::from_secs(6);
/// The metric of the oldest open request when no request is open.
const NONE_OPEN: &str = "csr_warden_oldest_pending_seconds 0.0";
/// The metric of written conditions.
const WRITTEN: &str = "csr_warden_writes_total{result=\"written\"} ";

/// The program and its access to the cluster.
pub(super) struct Launch {
    program: PathBuf,
    credentials: Vec<OsString>,
}

impl Launch {
    /// Uses this program, unless another one is given.
    pub(super) fn new(program: Option<&Path>, cluster: &ClusterArgs) -> Result<Launch> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().context("cannot find this program's own path")?,
        };
        Ok(Launch {
            program,
            credentials: cluster.words(),
        })
    }
}

/// A running daemon. It is killed when dropped, as it holds no Lease.
pub(super) struct DaemonProcess {
    child: Child,
    http: Client,
    started: Instant,
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        // A process that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DaemonProcess {
    /// Starts the daemon with the default policy and without leader election.
    pub(super) fn start(launch: &Launch, concurrency: u16) -> Result<DaemonProcess> {
        let address = free_port()?;
        let child = Command::new(&launch.program)
            .arg("run")
            .args(&launch.credentials)
            .args(["--leader-elect=false", "--policy=default"])
            .args(["--log-format=text", "--log-level=error"])
            .arg(format!("--bind-address={address}"))
            // There is no signer here, and few nodes request many certificates.
            .arg("--max-unissued=1000000")
            .arg(format!("--concurrency={concurrency}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{}`", launch.program.display()))?;
        let mut config = Config::new(format!("http://{address}").parse()?);
        // A response of "not ready" is not retried.
        config.default_retry = false;
        Ok(DaemonProcess {
            child,
            http: Client::try_from(config)?,
            started: Instant::now(),
        })
    }

    /// Waits until the daemon is ready. Returns the time since its start.
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

    /// Waits until the daemon has written a condition.
    pub(super) async fn begins(&mut self) -> Result<()> {
        while self.written().await?.unwrap_or_default() == 0 {
            self.must_run()?;
            if self.started.elapsed() > TIMEOUT {
                bail!(
                    "csr-warden has written no condition after {} s",
                    TIMEOUT.as_secs()
                );
            }
            sleep(READY_POLL).await;
        }
        Ok(())
    }

    /// Waits until the daemon has written `count` conditions. Returns the time until it was ready,
    /// and the time from the last reading of zero to the first reading of all.
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
                // A daemon that was never seen idle has written since its start.
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
            // The answer to a write can be late, while the watch shows that it was written.
            if ready_after.is_some() && last.1.elapsed() > SETTLED && !self.has_open().await {
                let ready_after = ready_after.unwrap_or(began - self.started);
                return Ok((ready_after, (last.1 - began).max(MIN_POLL)));
            }
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

    /// Returns the number of written conditions, `None` if there is no response.
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

    /// Returns true if a request is open, or if there is no response.
    async fn has_open(&self) -> bool {
        let metrics = self.get("/metrics").await.unwrap_or_default();
        !metrics.lines().any(|line| line == NONE_OPEN)
    }

    /// Returns the body of a 200 response.
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

    /// Returns its resident memory in KiB, if the system reports it.
    pub(super) fn resident_kib(&self) -> Option<u64> {
        process::memory_kib(&self.process(), "VmRSS:")
    }

    /// Returns its peak resident memory in KiB.
    pub(super) fn peak_kib(&self) -> Option<u64> {
        process::memory_kib(&self.process(), "VmHWM:")
    }

    /// Returns its CPU time.
    pub(super) fn processor(&self) -> Option<Duration> {
        process::cpu_time(&self.process())
    }

    fn process(&self) -> String {
        self.child.id().to_string()
    }
}

/// Returns the time until the next reading: half of the estimated remaining time.
fn pause(took: Duration, written: usize, count: usize) -> Duration {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let left = took.saturating_mul(number(count - written)) / number(written).max(1);
    (left / 2).clamp(MIN_POLL, MAX_POLL)
}

/// Returns a free port. If another process takes it first, the daemon reports an error.
fn free_port() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .context("no free port")
}
